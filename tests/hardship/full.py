"""A disk that fills up to the last byte, and empties again, under a running agent and before a start."""

import os

from agent import Agent, Client
from history import History, demand_nothing_counted, demand_repeats
from load import Record
from stage import demand, need_root, wait_until
from upstream import GONE, Upstream

BALLAST = 1 << 20


def check(stage, rounds):
    need_root()
    fates = ("stays", "stopped", "killed")
    acknowledged = [fill_up(stage, f"{n}-{records} of {size} bytes, {fate}", records, size, fate)
                    for n in range(rounds) for records, size in ((400, 200), (100, 6000), (300, 6000)) for fate in fates]
    return f"{len(acknowledged)} full disks, {sum(acknowledged)} acknowledged, all delivered while there was no room"


def fill_up(stage, name, records, size, fate):
    """Failures wait that were recorded in few rounds, so that SQLite's log holds more or fewer
    pages that its file lacks. The agent keeps running, or restarts on the full disk."""
    disk = stage.mount(f"disk-{name}", "-t", "tmpfs", "-o", "size=24M", "tmpfs")
    history = History()
    upstream = Upstream(stage, history)
    upstream.mode = GONE
    agent = Agent(stage, name, upstream.url, state=os.path.join(disk, "state"), limits='min_free_disk = "0B"')
    agent.up()
    ask = Asker(agent, history, size)
    ask.at_once(records)
    wait_until("the ballast", lambda: ballast(agent) >= BALLAST)
    hog = os.path.join(disk, "hog")
    fill(hog)
    before = len(history.acknowledged)
    # A killed agent still has the ballast: a program that takes its released space takes that of the outcomes.
    if fate != "killed":
        wait_until("a record being refused on a full disk", lambda: ask.once() == "disk_full", look=0)

    if fate == "stays":
        fill(hog)
    elif fate == "stopped":
        # The space that it releases at a stop is needed at the start: SQLite's index of the log is a file.
        demand(agent.stop() == 0, f"a stop on a full disk succeeds: {agent.last_words()}")
    elif fate == "killed":
        agent.kill9()
        fill(hog)
    # (A stop releases the log's space, which the next start takes again.)
    room = os.statvfs(disk)
    demand(fate == "stopped" or room.f_bavail * room.f_frsize < BALLAST, "the disk was not full")
    if fate != "stays":
        agent.up()
    history.demand_kept(history.owing(), agent.live())
    demand(agent.ask({"op": "list", "limit": 5})["total"] >= before, "list does not tell of all that wait")

    upstream.settle()
    agent.hurry()
    wait_until("outcomes being written on a full disk", lambda: not agent.live(), look=0.05)
    history.demand_order()
    demand(ask.once() in ("ok", "disk_full"), "neither ok nor disk_full")

    os.remove(hog)
    wait_until("recording again, without a restart", lambda: ask.once() == "ok", look=0.05)
    wait_until("the ballast being made again", lambda: ask.once() == "ok" and ballast(agent) >= BALLAST, look=0.05)
    wait_until("the last deliveries", lambda: not agent.live(), look=0.05)
    history.demand_order()
    demand_nothing_counted(agent)
    demand_repeats(agent, list(history.acknowledged.values())[-100:])
    agent.demand_whole()
    agent.kill9()
    return len(history.acknowledged)


class Asker:
    """Records; a rejected record is repeated with the next call."""

    def __init__(self, agent, history, size):
        self.agent, self.history, self.size = agent, history, size
        self.count = 0

    def at_once(self, count):
        """`count` records in one write, on an empty disk."""
        with Client(self.agent.app) as client:
            records = [self._record(self.count + n) for n in range(count)]
            client.send(record.request for record in records)
            for record in records:
                self._acknowledged(record, client.reply())

    def once(self):
        """`ok`, or the code of the rejection."""
        record = self._record(self.count)
        reply = self.agent.call(record.request)
        if not reply["ok"]:
            return reply["error"]["code"]
        self._acknowledged(record, reply)
        return "ok"

    def _acknowledged(self, record, reply):
        demand(reply["ok"], f"refused: {reply}")
        self.history.acknowledge(record, reply)
        self.count += 1

    def _record(self, n):
        return Record({"op": "record", "entity_type": "SALE", "entity_id": f"s-{n % 50}", "action": "CREATE",
                         "retry": "now", "error": "connect ETIMEDOUT", "idempotency_key": f"k-{n}",
                         "payload": {"text": "x" * self.size}})


def fill(path):
    """Until no byte fits."""
    with open(path, "ab", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            try:
                while file.write(b"x" * size):
                    pass
            except OSError:
                pass


def ballast(agent):
    """Bytes that are allocated."""
    try:
        return os.stat(os.path.join(agent.state, "ballast")).st_blocks * 512
    except FileNotFoundError:
        return 0
