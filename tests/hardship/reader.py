"""Other programs at the database: a reader that never ends, and one that holds the write lock."""

import os
import sqlite3
import time

from agent import Agent, Client
from history import History, demand_nothing_counted, demand_repeats
from load import Record
from stage import demand, need_root, wait_until
from upstream import GONE, Upstream

LARGE, MOST = 64 << 20, 256 << 20


def check(stage, _):
    need_root()
    disk = stage.mount("disk", "-t", "tmpfs", "-o", "size=2G", "tmpfs")
    history = History()
    upstream = Upstream(stage, history)
    upstream.mode = GONE
    agent = Agent(stage, "agent", upstream.url, state=os.path.join(disk, "state"))
    agent.up()
    foreign = sqlite3.connect(agent.file(), timeout=10, isolation_level=None)
    stage.callback(foreign.close)
    grown = never_ending(agent, history, upstream, foreign)
    longest = locked(agent, history, foreign)
    wait_until("everything being delivered", lambda: not agent.live(), look=0.05)
    history.demand_order()
    demand_nothing_counted(agent)
    demand_repeats(agent, list(history.acknowledged.values())[-20:])
    agent.demand_whole()
    return f"the log grew to {grown >> 20} MiB and is small again; under a foreign lock no client waited over {longest:.1f} s"


def never_ending(agent, history, upstream, foreign):
    """Recording stops at the bound, deliveries do not; recording resumes when the reader ends. Returns the
    log's greatest size."""
    foreign.execute("BEGIN")
    foreign.execute("SELECT COUNT(*) FROM sync_failures").fetchall()
    wait_until("disk_full", lambda: batch(agent, history, 20) == "disk_full", look=0)
    grown = log_size(agent)
    demand(grown >= MOST, f"disk_full with a log of {grown} bytes")
    demand("event=wal_large" in agent.log(), "no alert for the WAL")
    total = agent.ask({"op": "list", "limit": 1})["total"]
    demand(total == len(history.acknowledged), f"list reports {total}, not of {len(history.acknowledged)}")
    upstream.settle()
    agent.hurry()
    wait_until("deliveries in spite of the reader", lambda: not agent.live(), look=0.05)
    foreign.execute("COMMIT")
    wait_until("recording again", lambda: batch(agent, history, 1) == "ok", look=0.05)
    demand(log_size(agent) < LARGE, f"the log still has {log_size(agent)} bytes")
    return grown


def locked(agent, history, foreign):
    """Requests that write get `storage`, and succeed when the lock is gone. Returns the longest wait of any client."""
    foreign.execute("BEGIN IMMEDIATE")
    waits = []
    for _ in range(3):
        begun = time.monotonic()
        code = batch(agent, history, 1)
        demand(code == "storage", f"under a foreign write lock a record gets {code}")
        waits.append(time.monotonic() - begun)
        begun = time.monotonic()
        demand(agent.call({"op": "hello"})["ok"], "hello is not answered")
        waits.append(time.monotonic() - begun)
    foreign.execute("COMMIT")
    wait_until("recording again", lambda: batch(agent, history, 1) == "ok", look=0.05)
    return max(waits)


def batch(agent, history, count):
    """Large records in one write: `ok`, or the code of the last rejection."""
    first = len(history.acknowledged)
    records = [Record({"op": "record", "entity_type": "SALE", "entity_id": f"s-{n % 7}", "action": "CREATE",
                       "error": "connect ETIMEDOUT", "idempotency_key": f"k-{n}", "payload": {"text": "x" * 240_000}})
               for n in range(first, first + count)]
    codes = []
    with Client(agent.app) as client:
        client.send(record.request for record in records)
        for record in records:
            reply = client.reply()
            codes.append("ok" if reply["ok"] else reply["error"]["code"])
            if reply["ok"]:
                history.acknowledge(record, reply)
    return codes[-1]


def log_size(agent):
    return os.stat(f"{agent.file()}-wal").st_size
