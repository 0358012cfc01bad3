"""Every system call that a promise depends on fails once, or fails from then on, or is the last one: fsync,
fdatasync and pwrite64 of a short life, from an empty directory to the last delivery, one place per run.

strace counts and injects for each thread and each call separately; only the loop's thread writes to files.
"""

import collections
import itertools
import os
import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from agent import Agent, Client
from history import History, demand_nothing_counted, demand_repeats
from load import Record
from stage import Lost, Skipped, Stage, demand, need, wait_until
from upstream import Upstream

# SQLite syncs with fdatasync, the agent's own code with fsync.
SYNCS, WRITE = ("fsync", "fdatasync"), "pwrite64"
RECORDS = 8
AT_ONCE = 4


@dataclass(frozen=True)
class Fault:
    """The fault of the nth such call."""

    call: str
    does: str
    lasts: bool
    nth: int

    def strace(self):
        when = f"{self.nth}{'+' if self.lasts else ''}"
        return traced(self.call, "-e", f"inject={self.call}:{self.does}:when={when}")

    def kills(self):
        return "KILL" in self.does

    def __str__(self):
        return f"{self.call}:{self.does}:when={self.nth}{'+' if self.lasts else ''}"


def traced(calls, *more, output="/dev/null"):
    """-D: the started process becomes the agent, and strace traces it from another one."""
    return [need("strace", "strace"), "-D", "-f", "-qq", "-o", output, "-e", f"trace={calls}", *more]


def check(stage, wanted):
    need("strace", "strace")
    places = count_calls(stage)
    faults = []
    kinds = [(call, *how) for how in (("error=EIO", False), ("error=EIO", True), ("signal=KILL", False))
             for call in SYNCS]
    kinds += [(WRITE, *how) for how in (("error=ENOSPC", False), ("error=ENOSPC", True), ("error=EIO", False),
                                        ("signal=KILL", False))]
    for call, does, lasts in kinds:
        faults.append([Fault(call, does, lasts, nth) for nth in range(1, places[call] + 1)])
        stage.random.shuffle(faults[-1])
    # One of each kind in turn, so that a short run includes all kinds.
    mixed = [fault for few in itertools.zip_longest(*faults) for fault in few if fault is not None]
    begun = time.monotonic()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        seen = collections.Counter(kind for kinds in pool.map(lambda fault: suffer(stage, fault), mixed[:wanted])
                                   for kind in kinds)
    done = min(wanted, len(mixed))
    for kind in ("storage", "disk_full", "killed"):
        demand(wanted < 50 or seen[kind], f"not one fault led to {kind}: {dict(seen)}")
    met = ", ".join(f"{kind} {count}" for kind, count in sorted(seen.items()))
    return f"{done} of {len(mixed)} places, {60 * done / (time.monotonic() - begun):.0f} a minute; met: {met}"


def count_calls(stage):
    """How often the loop's thread makes each call without faults."""
    output = os.path.join(stage.dir, "trace")
    history = History()
    upstream = Upstream(stage, history)
    agent = Agent(stage, "healthy", upstream.url)
    before = traced(",".join((*SYNCS, WRITE)), output=output)
    try:
        agent.up(before)
    except Lost as why:
        raise Skipped(f"strace does not work here: {why}") from why
    pid = agent.child.pid
    demand(record_all(agent, history, wanted(), insist=True) == [], "a record was refused without a fault")
    wait_until("the deliveries of a healthy life", lambda: not agent.live())
    agent.stop()
    with open(output) as file:
        return collections.Counter(re.findall(rf"^{pid}\s+(\w+)\(", file.read(), re.MULTILINE))


def wanted():
    return [Record({"op": "record", "entity_type": "SALE", "entity_id": f"s-{n % 3}", "action": "CREATE",
                    "retry": "now", "error": "connect ETIMEDOUT", "idempotency_key": f"k-{n}",
                    "payload": {"n": n, "text": "x" * 500 * n}}) for n in range(RECORDS)]


def suffer(parent, fault):
    """One life with one fault, and the checks after it. Returns the observed effects of the fault."""
    try:
        with Stage(parent.binary, str(fault)) as stage:
            return live_through(stage, fault)
    except Lost as what:
        raise Lost(f"{fault}: {what}") from what


def live_through(stage, fault):
    history, met, refused = History(), set(), []
    upstream = Upstream(stage, history)
    agent = Agent(stage, "agent", upstream.url)
    agent.spawn(fault.strace())
    records = wanted()
    if came_up(agent, fault):
        passes = not fault.lasts and not fault.kills()
        refused = record_all(agent, history, records, passes, met, fault.kills())
        if passes:
            wait_until("deliveries after the fault, without a restart", lambda: not history.owing())
    else:
        met.add("no start")
    if fault.kills() and not agent.runs():
        met.add("killed")
    owing = history.owing()
    agent.kill9()
    agent.up()
    history.demand_kept(owing, agent.live())
    nothing_of(agent, [key for key, code in refused if code == "disk_full"])
    acknowledged = list(history.acknowledged.values())
    demand(record_all(agent, history, [one for one in records if not one.id], insist=True) == [], "still refused")
    agent.hurry()
    wait_until("everything being delivered", lambda: not agent.live(), look=0.01)
    history.demand_order()
    demand_nothing_counted(agent)
    demand_repeats(agent, acknowledged)
    agent.demand_whole()
    return met or {"unnoticed"}


def came_up(agent, fault):
    """Whether it replies. Otherwise it has reported an error with exit 1, or was killed."""
    try:
        agent.wait_up()
        return True
    except Lost:
        demand(not agent.runs(), "it neither serves nor ends")
        status = agent.child.returncode
        demand(status == (-9 if fault.kills() else 1), f"it ended with {status}: {agent.last_words()}")
        demand(fault.kills() or agent.file() in agent.last_words() or agent.state in agent.last_words(),
               f"it does not say which file failed: {agent.last_words()}")
        return False


def record_all(agent, history, records, insist, met=None, dies=False):
    """Records one after the other; (key, code) of those that stay rejected. `insist`: until it says ok."""
    refused = []
    for record in records:
        try:
            code = wait_until(f"an ok for {record.key}", lambda: one(agent, history, record, insist, met), look=0.05)
        except OSError:
            demand(dies and agent.ended() == -9, f"the agent hung up: {agent.last_words()}")
            return refused
        if code != "ok":
            refused.append((record.key, code))
    return refused


def one(agent, history, record, insist, met):
    reply = agent.call(record.request)
    if reply["ok"]:
        history.acknowledge(record, reply)
        return "ok"
    code = reply["error"]["code"]
    demand(code in ("storage", "disk_full"), f"{record.key} got {reply}")
    if met is not None:
        met.add(code)
    return None if insist else code


def nothing_of(agent, keys):
    """refused means absent: after disk_full nothing is recorded."""
    for key in keys:
        found = agent.rows("SELECT failure_id FROM idempotency_keys WHERE key = ?", key)
        demand(not found, f"refused means absent: {key} was refused with disk_full, and is recorded as {found}")
