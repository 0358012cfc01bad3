"""The head office of the migration: accepts everything, and writes key and body of each request to a file."""
import http.server, json, sys
from urllib.parse import unquote


class Office(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.command == "POST":
            with open(sys.argv[2], "a", encoding="utf-8") as arrived:
                key = unquote(self.headers["Resync-Id"] or self.headers["Idempotency-Key"])
                arrived.write(json.dumps({"key": key, "body": json.loads(body)}) + "\n")
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(b"{}")

    do_POST = do_HEAD = answer

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Office).serve_forever()
