#!/usr/bin/env python3
"""A receiver for resyncd in forty lines: processes each key once, however often it is sent.

    receiver.py PORT FILE
"""
import http.server
import json
import sqlite3
import sys

TABLE = """CREATE TABLE IF NOT EXISTS received (
    key TEXT NOT NULL PRIMARY KEY, body BLOB NOT NULL, at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP)"""


class Receiver(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps the connection
    wbufsize = -1  # an answer is one packet

    def do_POST(self):
        key, body = self.headers["Idempotency-Key"], self.rfile.read(int(self.headers["Content-Length"]))
        if not key:
            return self.answer(400, {"message": "Idempotency-Key is missing"})
        try:
            with sqlite3.connect(sys.argv[2]) as db:  # one transaction, committed before the answer
                take = "INSERT INTO received (key, body) VALUES (?, ?) ON CONFLICT (key) DO NOTHING"
                new = db.execute(take, (key, body)).rowcount == 1
                # What a sale does (stock, accounts) belongs here, in this transaction, and only if new.
                (kept,) = db.execute("SELECT body FROM received WHERE key = ?", (key,)).fetchone()
        except sqlite3.OperationalError as error:  # busy, or the disk is full: nothing was stored
            return self.answer(503, {"message": str(error)})
        if kept != body:
            return self.answer(422, {"message": "this key came before, with another body"})
        self.answer(201 if new else 200, {"id": key})

    def do_HEAD(self):  # the agent's probe
        self.answer(200, None)

    def answer(self, status, what):
        body = json.dumps(what).encode() if what else b""
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if status == 503:
            self.send_header("Retry-After", "5")
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    with sqlite3.connect(sys.argv[2]) as made:
        made.execute(TABLE)
    http.server.ThreadingHTTPServer.request_queue_size = 128  # a whole chain may connect at once
    http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver).serve_forever()
