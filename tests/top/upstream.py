"""A head office for the live screen: accepts everything but SKU 4711.

    upstream.py PORT_FILE     uses the port in the file, if it exists; else any, which is written to it
"""

import http.server
import os
import sys


class Office(http.server.BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if b"4711" in body:
            self.reply(422, b'{"message":"unknown SKU 4711"}')
        else:
            self.reply(200, b'{"taken":true}')

    def reply(self, status, body):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = answer

    def log_message(self, *_):
        """No log: the test does not read it."""


port = 0
if os.path.exists(sys.argv[1]):
    with open(sys.argv[1]) as file:
        port = int(file.read())
http.server.ThreadingHTTPServer.allow_reuse_address = True
with http.server.ThreadingHTTPServer(("127.0.0.1", port), Office) as server:
    server.daemon_threads = True
    with open(sys.argv[1] + ".new", "w") as file:
        file.write(str(server.server_address[1]))
    os.rename(sys.argv[1] + ".new", sys.argv[1])
    server.serve_forever()
