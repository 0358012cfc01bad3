#!/usr/bin/env python3
"""The receiver over PostgreSQL (Debian: python3-psycopg2), so that several may run behind one address.

    receiver_postgres.py PORT "host=… dbname=… user=…"
"""
import contextlib
import http.server
import json
import sys

import psycopg2

TABLE = """CREATE TABLE IF NOT EXISTS received (
    key TEXT PRIMARY KEY, body TEXT NOT NULL, at TIMESTAMPTZ NOT NULL DEFAULT now())"""


class Receiver(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps the connection
    wbufsize = -1  # an answer is one packet

    def do_POST(self):
        key, body = self.headers["Idempotency-Key"], self.rfile.read(int(self.headers["Content-Length"])).decode()
        if not key:
            return self.answer(400, {"message": "Idempotency-Key is missing"})
        try:
            # One transaction, committed before the answer. Under load put a pool (pgbouncer) in between.
            with contextlib.closing(psycopg2.connect(sys.argv[2])) as line, line, line.cursor() as db:
                # Of two requests with one key at the same moment, the second waits here for the first.
                db.execute("INSERT INTO received (key, body) VALUES (%s, %s) ON CONFLICT (key) DO NOTHING", (key, body))
                new = db.rowcount == 1
                # What a sale does (stock, accounts) belongs here, in this transaction, and only if new.
                db.execute("SELECT body FROM received WHERE key = %s", (key,))
                (kept,) = db.fetchone()
        except psycopg2.OperationalError as error:  # the database is down: the outcome is unknown
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
    with contextlib.closing(psycopg2.connect(sys.argv[2])) as first, first, first.cursor() as made:
        made.execute(TABLE)
    http.server.ThreadingHTTPServer.request_queue_size = 128  # a whole chain may connect at once
    http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver).serve_forever()
