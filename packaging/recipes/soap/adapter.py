#!/usr/bin/env python3
"""resyncd to SOAP 1.1. SOAP_URL is the service, SOAP_NS its namespace; it listens on 127.0.0.1:PORT."""
import html, http.server, json, os, socket, urllib.error, urllib.request, xml.etree.ElementTree as xml
URL, NS, SOAP = os.environ["SOAP_URL"], os.environ["SOAP_NS"], "http://schemas.xmlsoap.org/soap/envelope/"
STATUSES = dict.fromkeys((401, 403, 404, 405, 415), "misconfigured") | dict.fromkeys((429, 502, 503), "throttled")
FAULTS = {"Client": "refused", **dict.fromkeys(("Client.Authentication", "VersionMismatch", "MustUnderstand"), "misconfigured")}
def element(name, value):
    if isinstance(value, list): return "".join(element(name, one) for one in value)
    if isinstance(value, dict): inner = "".join(element(*member) for member in value.items())
    else: inner = "" if value is None else html.escape(value if isinstance(value, str) else json.dumps(value), quote=False)
    return f"<{name}>{inner}</{name}>"
def call(operation, fields):  # returns an outcome, an error text, and whether the response names a sale
    body = f'<s:Envelope xmlns:s="{SOAP}"><s:Body xmlns="{NS}">{element(operation, fields)}</s:Body></s:Envelope>'
    headers, status = {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": f'"{NS}/{operation}"'}, 200
    try:
        try: text = urllib.request.urlopen(urllib.request.Request(URL, body.encode(), headers), timeout=20).read()
        except urllib.error.HTTPError as no: status, text = no.code, no.read()  # a fault comes with status 500
        answer = xml.fromstring(text).find(f"{{{SOAP}}}Body")
        first, texts = answer[0], {part.strip() for part in answer.itertext()} - {"", "0", "false"}  # those name no sale
    except urllib.error.URLError as error:  # if the connection was refused, nothing was sent
        away = isinstance(error.reason, (ConnectionRefusedError, socket.gaierror))
        return "unreachable" if away else "unsure", str(error.reason), None
    except Exception as error:  # it was sent, and the response is not SOAP
        return STATUSES.get(status, "unsure"), f"HTTP {status}: {error!r}", None
    if first.tag != f"{{{SOAP}}}Fault": return "delivered", "", bool(texts) or None
    code = first.findtext("faultcode", "").split(":")[-1]  # one that is not in FAULTS may come after the sale was booked
    return FAULTS.get(code) or FAULTS.get(code.split(".")[0], "unsure"), first.findtext("faultstring", ""), None
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):  # one sale; numbers with decimals are passed on as they were written
        sale = json.loads(self.rfile.read(int(self.headers["Content-Length"])), parse_float=str)["payload"]
        if not isinstance(sale, dict): self.say("refused", "the payload is not a JSON object", None)
        else: self.say(*call("RecordSale", {**sale, "ExternalReference": self.headers["Idempotency-Key"]}))
    def do_GET(self): self.say(*call("FindSale", {"ExternalReference": urllib.request.unquote(self.path.split("/look/")[1])}))
    def do_HEAD(self): self.say("delivered", "", None)
    def say(self, outcome, words, found):
        self.send_response(200)
        for name, text in ("Resync-Outcome", outcome), ("Resync-Error", " ".join(words.split())):
            self.send_header(name, text.encode().decode("latin-1"))
        self.end_headers(); self.wfile.write(b"" if self.command == "HEAD" else json.dumps({"found": found}).encode())
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "9001"))), Handler).serve_forever()
