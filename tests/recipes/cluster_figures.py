"""What part cluster of engines.sh measured: throughput, recovery after a node's death, duplicates.

    cluster_figures.py DSN ACCESS_LOG BEGUN KILLS

A message is confirmed when nginx passes on the API's 200, and taken when the consumer's transaction writes it.
"""
import sys

import psycopg2

dsn, log, begun, kills = sys.argv[1:]
with psycopg2.connect(dsn) as line, line.cursor() as db:
    db.execute("SELECT extract(epoch FROM at)::float8 FROM received ORDER BY at")
    taken = [row[0] for row in db]
    db.execute("SELECT coalesce(sum(times - 1), 0), count(*) FILTER (WHERE times > 1) FROM received")
    again, keys = db.fetchone()
confirmed = sorted(float(line.split()[-2]) for line in open(log) if line.startswith("200 POST "))


def rate(times, begin, end):
    return sum(begin <= t < end for t in times) / (end - begin)


def longest_pause(times, begin, end):
    around = [begin] + [t for t in times if begin <= t < end]
    return max((b - a for a, b in zip(around, around[1:])), default=end - begin)


def half_again(times, begin, before):
    """The first second from which as much as half of the former rate is reached."""
    return next((s for s in range(600) if rate(times, begin + s, begin + s + 1) >= before / 2), "never")


begun = float(open(begun).read())
print("all: %d keys taken, of %d confirmed messages" % (len(taken), len(confirmed)))
for name, times in ("confirmed", confirmed), ("taken", taken):
    print("three nodes: %.0f a second %s" % (rate(times, begun, times[-1]), name))
print("duplicates: %d messages came again, of %d keys" % (again, keys))
kills = [line.split() for line in open(kills)]
for what, node, moment in kills:
    if what != "killed":
        continue
    killed = float(moment)
    # Up to here agents had something to deliver without it.
    end = next(float(m) for w, n, m in kills if (w, n) == ("back", node))
    for name, times in ("confirmed", confirmed), ("taken", taken):
        before = rate(times, killed - 5, killed)
        print("node %s killed, %s: %.0f a second before, longest pause %.1f s, half of that rate again after %s s, %.0f a second with two nodes"
              % (node, name, before, longest_pause(times, killed, end), half_again(times, killed, before), rate(times, killed, end)))
