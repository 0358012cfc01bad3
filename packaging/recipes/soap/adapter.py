#!/usr/bin/env python3
"""resyncd to SOAP 1.1. SOAP_URL is the service, SOAP_NS its namespace; it listens on 127.0.0.1:PORT."""
import json, os, socket, urllib.error, urllib.request
import xml.etree.ElementTree as xml
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from xml.sax.saxutils import escape
URL, NS, SOAP = os.environ["SOAP_URL"], os.environ["SOAP_NS"], "http://schemas.xmlsoap.org/soap/envelope/"
STATUSES = {401: "misconfigured", 403: "misconfigured", 429: "throttled", 502: "throttled", 503: "throttled"}
def call(operation, fields):
    """An outcome, its words, and whether the answer's element holds anything."""
    inner = "".join(f"<{name}>{escape(str(value))}</{name}>" for name, value in fields.items())
    body = f'<s:Envelope xmlns:s="{SOAP}"><s:Body><{operation} xmlns="{NS}">{inner}</{operation}></s:Body></s:Envelope>'
    headers = {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": f'"{NS}/{operation}"'}
    status = 200
    try:
        try: text = urllib.request.urlopen(urllib.request.Request(URL, body.encode(), headers), timeout=20).read()
        except urllib.error.HTTPError as no: status, text = no.code, no.read()  # a fault comes with status 500
        answer = xml.fromstring(text).find(f"{{{SOAP}}}Body")[0]
    except urllib.error.URLError as error:  # nothing was sent, if nobody was there
        away = isinstance(error.reason, (ConnectionRefusedError, socket.gaierror))
        return "unreachable" if away else "unsure", str(error.reason), None
    except Exception as error:  # it was sent, and what came is no SOAP
        return STATUSES.get(status, "unsure"), f"HTTP {status}: {error!r}", None
    if answer.tag != f"{{{SOAP}}}Fault": return "delivered", "", any(part.text or len(part) for part in answer) or None
    client = answer.findtext("faultcode", "").split(":")[-1].startswith("Client")  # else Server: it may pass
    return "refused" if client else "failed", answer.findtext("faultstring", ""), None
class Handler(BaseHTTPRequestHandler):
    def do_POST(self):  # one sale
        payload = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["payload"]
        self.say(*call("RecordSale", {**payload, "ExternalReference": self.headers["Idempotency-Key"]}))
    def do_GET(self):  # /look/KEY: is it there?
        self.say(*call("FindSale", {"ExternalReference": urllib.request.unquote(self.path.split("/look/")[1])}))
    def do_HEAD(self): self.say("delivered", "", None)
    def say(self, outcome, words, found):
        self.send_response(200)
        for name, text in ("Resync-Outcome", outcome), ("Resync-Error", " ".join(words.split())):
            self.send_header(name, text.encode().decode("latin-1"))
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else json.dumps({"found": found}).encode())
ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "9001"))), Handler).serve_forever()
