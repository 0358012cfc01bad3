"""Many agents on one machine, for the parts cluster and chain of engines.sh.

    fleet.py run AGENT DIR N CONFIG [THROUGH…]
                                          N agents, each in DIR/till-NNN with CONFIG, until SIGTERM; THROUGH is the
                                          command that starts each of them
    fleet.py record DIR N FAILURES KEYS [BEFORE]
                                          each gets so many failures of so many entities, in steps that are numbered
                                          from BEFORE + 1; all must be acknowledged
    fleet.py wait DIR N SECONDS LIVE      until no more than LIVE failures are live in all of them together
    fleet.py offline DIR N SECONDS AGE    until all have been offline for AGE seconds, by their own clocks
    fleet.py attempts DIR N               what the attempts of stopped agents came to, as JSON

In CONFIG, a file, and in THROUGH, @DIR@ and @TERMINAL@ are replaced.
"""
import collections
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time


def folder(base, n):
    return "%s/till-%03d" % (base, n)


def run(agent, base, n, config, *through):
    text = open(config).read()
    agents = []

    def end(*_):
        for one in agents:
            one.terminate()
        for one in agents:
            one.wait()
        sys.exit(0)

    signal.signal(signal.SIGTERM, end)
    for number in range(1, int(n) + 1):
        here = folder(base, number)

        def own(words):
            return words.replace("@DIR@", here).replace("@TERMINAL@", "till-%03d" % number)

        os.makedirs(here, 0o700, exist_ok=True)
        with open(here + "/c.toml", "w") as file:
            file.write(own(text))
        command = [*map(own, through), agent, "--config", here + "/c.toml", "run"]
        with open(here + "/log", "a") as log:
            agents.append(subprocess.Popen(command, stdout=log, stderr=log))
    while all(one.poll() is None for one in agents):
        time.sleep(1)
    # An agent that ends early would be missing in everything that follows.
    sys.exit("an agent has ended: %s" % [one.returncode for one in agents])


def line_to(path, patience=60):
    end = time.monotonic() + patience
    while True:
        try:
            line = socket.socket(socket.AF_UNIX)
            line.settimeout(60)
            line.connect(path)
            return line
        except OSError:
            line.close()
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


def record(base, n, failures, keys, before=0):
    for number in range(1, int(n) + 1):
        requests = []
        for step in range(int(before) + 1, int(before) + int(failures) + 1):
            entity = "till-%03d-%d" % (number, step % int(keys))
            requests.append(json.dumps({
                "op": "record", "entity_type": "SALE", "entity_id": entity, "action": "STEP",
                "error": "connect ETIMEDOUT", "retry": "now", "payload": {"entity": entity, "step": step}}))
        with line_to(folder(base, number) + "/app.sock") as line:
            line.sendall(("\n".join(requests) + "\n").encode())
            line.shutdown(socket.SHUT_WR)
            replies = [json.loads(reply) for reply in line.makefile()]
        assert len(replies) == len(requests) and all(reply["ok"] for reply in replies), replies[-1:]


def ask(path, request):
    with line_to(path) as line:
        line.sendall(json.dumps(request).encode() + b"\n")
        return json.loads(line.makefile().readline())


def wait(base, n, seconds, most):
    end = time.monotonic() + float(seconds)
    while True:
        each = [ask(folder(base, number) + "/admin.sock", {"op": "health"}) for number in range(1, int(n) + 1)]
        live = sum(one["pending"] + one["critical"] + one["held"] for one in each)
        if live <= int(most):
            print(live)
            return
        if time.monotonic() > end:
            states = collections.Counter(one["upstreams"][0]["state"] for one in each)
            sys.exit("still live: %d, critical: %d, upstreams: %s" % (live, sum(one["critical"] for one in each), dict(states)))
        time.sleep(0.2)


def database(base, number):
    return sqlite3.connect("file:%s/sync_failures.db?mode=ro" % folder(base, number), uri=True)


def offline(base, n, seconds, age):
    end = time.monotonic() + float(seconds)
    while True:
        outages = []
        for number in range(1, int(n) + 1):
            with database(base, number) as db:
                now, upstream = db.execute("SELECT agent_time, state FROM agent, upstreams").fetchone()
            outage = json.loads(upstream)["offline"]
            outages.append((now - outage["since"]) / 1000 if outage else 0)
        long = sum(outage >= float(age) for outage in outages)
        if long == int(n):
            print(long)
            return
        if time.monotonic() > end:
            sys.exit("offline for so long: %d; the shortest: %s s" % (long, min(outages)))
        time.sleep(0.2)


def attempts(base, n):
    total = collections.Counter()
    for number in range(1, int(n) + 1):
        with database(base, number) as db:
            for status, kind, counted, times in db.execute(
                "SELECT coalesce(http_status, 0), class, counted, count(*) FROM sync_attempts GROUP BY 1, 2, 3"
            ):
                total["%s %s" % (kind, status)] += times
                total["counted"] += counted * times
            total["live"] += db.execute("SELECT count(*) FROM sync_failures").fetchone()[0]
    print(json.dumps({"counted": 0, **total}, sort_keys=True))


if __name__ == "__main__":
    {"run": run, "record": record, "wait": wait, "offline": offline, "attempts": attempts}[sys.argv[1]](*sys.argv[2:])
