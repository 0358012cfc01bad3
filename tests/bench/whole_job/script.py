"""What a shop's developer would write instead of resyncd: the same socket, the same table, the same durable commit before each
answer, and the same order and key at the head office. It has no history, no operator's commands, and little of the judgement
about responses. Part of the benchmark: `script.py DATABASE SOCKET URL`."""

import json
import os
import socketserver
import sqlite3
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import requests

DATABASE, SOCKET, URL = sys.argv[1:]
SENDERS = 4
WHILE_DOWN = 1  # seconds between attempts while the upstream cannot be reached
BACKOFF = [300, 900, 1800]
REQUIRED = ("entity_type", "entity_id", "action", "error")

TABLE = """
CREATE TABLE IF NOT EXISTS sync_failures (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    entity_type TEXT NOT NULL,
    entity_id TEXT NOT NULL,
    action TEXT NOT NULL,
    error TEXT NOT NULL,
    payload TEXT,
    retry_count INTEGER NOT NULL DEFAULT 0,
    last_retry_at TIMESTAMP,
    created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    due_at REAL NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS sync_failures_entity ON sync_failures (entity_type, entity_id, seq);
CREATE INDEX IF NOT EXISTS sync_failures_retry ON sync_failures (retry_count, created_at);
"""

# The oldest failure of each entity, so that none overtakes another of its entity.
NEXT = """
SELECT id, entity_type, entity_id, action, payload, retry_count FROM sync_failures AS f
WHERE due_at <= ? AND retry_count < ? AND NOT EXISTS (
    SELECT 1 FROM sync_failures AS older
    WHERE older.entity_type = f.entity_type AND older.entity_id = f.entity_id AND older.seq < f.seq)
ORDER BY seq LIMIT ?
"""

db = sqlite3.connect(DATABASE, check_same_thread=False)
db.execute("PRAGMA journal_mode = WAL")
db.execute("PRAGMA synchronous = FULL")  # a commit returns when it is on the disk
db.executescript(TABLE)
lock = threading.Lock()
recorded = threading.Event()


def record(failure):
    missing = [name for name in REQUIRED if not isinstance(failure.get(name), str)]
    if missing:
        return {"ok": False, "error": {"code": "bad_request", "message": f"{missing[0]} is missing"}}
    id = failure.get("idempotency_key") or str(uuid.uuid4())
    payload = json.dumps(failure["payload"]) if "payload" in failure else None
    values = [id, *(failure[name] for name in REQUIRED), payload]
    with lock, db:
        changed = db.execute(
            "INSERT OR IGNORE INTO sync_failures (id, entity_type, entity_id, action, error, payload) VALUES (?, ?, ?, ?, ?, ?)",
            values,
        ).rowcount
    recorded.set()
    return {"ok": True, "id": id, "duplicate": changed == 0}


class Client(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            try:
                reply = record(json.loads(line))
            except (ValueError, AttributeError):
                reply = {"ok": False, "error": {"code": "bad_json", "message": "not a JSON object"}}
            except sqlite3.Error as error:
                reply = {"ok": False, "error": {"code": "storage", "message": str(error)}}
            self.wfile.write(json.dumps(reply, separators=(",", ":")).encode() + b"\n")


class Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 128


def send(session, row):
    id, entity_type, entity_id, action, payload, _ = row
    headers = {
        "Content-Type": "application/json",
        "Idempotency-Key": id,
        "X-Entity-Type": entity_type,
        "X-Entity-Id": entity_id,
        "X-Action": action,
    }
    try:
        response = session.post(URL, data=(payload or "").encode(), headers=headers, timeout=30, allow_redirects=False)
    except requests.RequestException as error:
        return None, str(error)
    return response.status_code, response.text[:200]


def settle(row, status, text):
    """Stores an outcome; returns whether the upstream was there."""
    if status is None or status in (429, 502, 503, 504):
        return False  # an outage uses up no retry
    id, count = row[0], row[5]
    with lock, db:
        if 200 <= status < 300:
            db.execute("DELETE FROM sync_failures WHERE id = ?", (id,))
        else:
            db.execute(
                "UPDATE sync_failures SET retry_count = retry_count + 1, error = ?, due_at = ?,"
                " last_retry_at = CURRENT_TIMESTAMP, updated_at = CURRENT_TIMESTAMP WHERE id = ?",
                (f"HTTP {status}: {text}", time.time() + BACKOFF[min(count, len(BACKOFF) - 1)], id),
            )
    return True


def deliver():
    session = requests.Session()
    with ThreadPoolExecutor(SENDERS) as senders:
        while True:
            recorded.clear()
            with lock:
                rows = db.execute(NEXT, (time.time(), len(BACKOFF), SENDERS)).fetchall()
            if not rows:
                recorded.wait(1)
                continue
            outcomes = list(senders.map(lambda row: send(session, row), rows))
            there = [settle(row, *outcome) for row, outcome in zip(rows, outcomes)]
            if not all(there):
                time.sleep(WHILE_DOWN)


if os.path.exists(SOCKET):
    os.unlink(SOCKET)
threading.Thread(target=deliver, daemon=True).start()
with Server(SOCKET, Client) as server:
    server.serve_forever()
