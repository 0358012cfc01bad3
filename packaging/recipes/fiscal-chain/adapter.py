#!/usr/bin/env python3
"""resyncd to a fiskaltrust.Middleware. FT_URL is its sign endpoint; it listens on 127.0.0.1:PORT."""
import http.server, json, os, socket, urllib.error, urllib.request
URL, HEADERS = os.environ["FT_URL"], json.loads(os.environ.get("FT_HEADERS", "{}"))
LOOK = 0x0000_8000_0000_0000  # ftReceiptCase: return what was signed under this reference, sign nothing
def ask(receipt):
    """Returns an outcome, an error text, and the middleware's response."""
    headers = {"Content-Type": "application/json", **HEADERS}
    try:
        request = urllib.request.Request(URL, json.dumps(receipt).encode(), headers)
        answer = json.loads(urllib.request.urlopen(request, timeout=60).read())
    except urllib.error.HTTPError as no:  # other statuses may have left a link in the chain: look it up first
        outcome = {400: "refused", 401: "misconfigured", 403: "misconfigured"}.get(no.code, "unsure")
        return outcome, f"HTTP {no.code}: {no.read(500).decode(errors='replace')}", None
    except urllib.error.URLError as error:  # if the connection was refused, nothing was sent
        away = isinstance(error.reason, (ConnectionRefusedError, socket.gaierror))
        return "unreachable" if away else "unsure", str(error.reason), None
    except Exception as error:  # it was sent
        return "unsure", repr(error), None
    if answer and int(answer["ftState"]) & 0xFFFF_FFFF == 0xEEEE_EEEE:  # it was not signed
        return "failed", "; ".join(str(item.get("Data", "")) for item in answer.get("ftSignatures", [])), None
    return "delivered", "", answer
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        looks = self.path == "/look"
        try:
            receipt = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            receipt["ftReceiptCase"] = int(receipt["ftReceiptCase"]) | (LOOK if looks else 0)
        except (ValueError, KeyError, TypeError) as error: return self.say("refused", f"not a ReceiptRequest: {error!r}", None)
        outcome, words, answer = ask(receipt)
        if looks and outcome == "failed": outcome = "delivered"  # the lookup was answered: nothing is signed
        if not looks and outcome == "delivered" and not answer: outcome, words = "unsure", "the answer was null"
        self.say(outcome, words, answer)
    def do_HEAD(self): self.say("delivered", "", None)
    def say(self, outcome, words, answer):
        self.send_response(200)
        for name, text in ("Resync-Outcome", outcome), ("Resync-Error", " ".join(words.split())):
            self.send_header(name, text.encode().decode("latin-1"))
        self.end_headers(); self.wfile.write(b"" if self.command == "HEAD" else json.dumps(answer or {}).encode())
http.server.HTTPServer(("127.0.0.1", int(os.environ.get("PORT", "9002"))), Handler).serve_forever()
