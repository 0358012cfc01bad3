"""A state directory on a disk that cannot be written: an error that says so and what to do, and
status 1; the agent starts as soon as the disk can be written again."""

import os

from agent import Agent
from full import fill
from history import History
from load import Record
from stage import demand, need_root, run
from upstream import GONE, Upstream


def check(stage, _):
    need_root()
    read_only(stage)
    full(stage)
    return "read-only and full disks are named, with the remedy"


def read_only(stage):
    disk = stage.mount("read-only", "-t", "tmpfs", "-o", "size=24M", "tmpfs")
    agent, kept = lived(stage, "agent-read-only", disk)
    run("mount", "-o", "remount,ro", disk)
    demand_refused(agent, "read-only", "remount,rw")
    run("mount", "-o", "remount,rw", disk)
    demand_starts(agent, kept)


def full(stage):
    disk = stage.mount("full", "-t", "tmpfs", "-o", "size=24M", "tmpfs")
    agent, kept = lived(stage, "agent-full", disk)
    os.remove(os.path.join(agent.state, "ballast"))
    hog = os.path.join(disk, "hog")
    fill(hog)
    demand_refused(agent, "file system is full", "df ")
    os.remove(hog)
    demand_starts(agent, kept)


def lived(stage, name, disk):
    """An agent that has recorded one failure and was stopped."""
    history = History()
    upstream = Upstream(stage, history)
    upstream.mode = GONE
    agent = Agent(stage, name, upstream.url, state=os.path.join(disk, "state"), limits='min_free_disk = "0B"')
    agent.up()
    record = Record({"op": "record", "entity_type": "SALE", "entity_id": "s-1", "action": "CREATE",
                     "error": "connect ETIMEDOUT", "idempotency_key": "k-1"})
    reply = agent.call(record.request)
    demand(reply["ok"], f"refused: {reply}")
    demand(agent.stop() == 0, f"a stop succeeds: {agent.last_words()}")
    return agent, reply["id"]


def demand_refused(agent, *words):
    agent.spawn()
    status = agent.ended()
    said = agent.last_words()
    demand(status == 1, f"it ended with {status} instead of 1 over {os.listdir(agent.state)}: {said}")
    for word in (agent.state, "belongs to uid", *words):
        demand(word in said, f"{word!r} is missing in: {said}")
    demand(len(said) < 2000, f"{len(said)} characters are too many to read: {said}")


def demand_starts(agent, kept):
    agent.up()
    demand(agent.live() == {kept}, "the failure that was recorded before is not there")
    agent.kill9()
