"""Power cuts on a real file system, from outside.

The agent's directory is on ext4 in an image on a loop device, and the image is a file of an XFS with
reflinks. A reflink copy of the image, made at any moment during writes, holds exactly what a cut at that
moment would have left:

- Unsynced writes of a program are in the page cache of the inner ext4, not in the image, which they
  reach only through the block device. So the copy lacks them, as a disk would.
- XFS copies a file under its lock, at one moment between two writes of the loop device. A plain `cp`
  reads the front earlier than the end, and would produce a state that never existed. So the check is
  skipped without reflinks.

The device has no volatile cache of its own: writes that reached it persist, in their order. Writes that
a disk loses or reorders between two flushes are covered by the simulation (`tests/simulation.rs`).
"""

import os
import shutil
import time

from agent import Agent
from history import History, demand_repeats
from kills import finish
from load import Storm
from stage import Stage, demand, need, need_root, run
from upstream import GONE, Upstream

# Cuts per directory; then a fresh one, because reading a history of hundreds of thousands of attempts is slow.
A_LIFE = 500
# How many of each cut's acknowledged records are repeated.
REPEATED = 40


def check(stage, cuts):
    need_root()
    outer = reflinking(stage)
    begun, counts = time.monotonic(), [0, 0, 0, 0]
    for life, first in enumerate(range(0, cuts, A_LIFE)):
        with Stage(stage.binary, stage.random.random()) as own:
            more = life_of(own, os.path.join(outer, f"disk-{life}"), min(A_LIFE, cuts - first))
        counts = [count + one for count, one in zip(counts, more)]
    acknowledged, sent, owing, again = counts
    demand(acknowledged and sent and owing and again, f"a cut hit nothing: {counts}")
    minutes = (time.monotonic() - begun) / 60
    return (f"{cuts} cuts, {cuts / minutes:.0f} a minute; {acknowledged} acknowledged, {sent} sent during the cuts, "
            f"{owing / cuts:.0f} owed and {again / cuts:.0f} repeated at each")


def reflinking(stage):
    """A file system with reflinks, in memory: the check concerns what reaches the device, not its speed."""
    need("mkfs.ext4", "e2fsprogs")
    memory = stage.mount("memory", "-t", "tmpfs", "-o", "size=1G", "tmpfs")
    image = os.path.join(memory, "outer.img")
    run("truncate", "-s", "1000M", image)
    run(need("mkfs.xfs", "xfsprogs"), "-q", "-m", "reflink=1", image)
    return stage.mount("outer", "-o", "loop", image)


def life_of(stage, disk, cuts):
    run("truncate", "-s", "400M", disk)
    run(need("mkfs.ext4", "e2fsprogs"), "-q", "-F", disk)
    stage.callback(os.remove, disk)
    inner = stage.mount("inner", "-o", "loop", disk)
    history = History()
    upstream = Upstream(stage, history)
    agent = Agent(stage, "agent", upstream.url, state=os.path.join(inner, "state"))
    witness = Upstream(stage, History())
    witness.mode = GONE
    agent.up()
    upstream.change_at_random(stage.random, 1.5)
    clients = Storm(agent.app, history, stage.random, pause=0.08)
    owing, again = 0, 0
    for n in range(cuts):
        time.sleep(stage.random.uniform(0, 0.06))
        if stage.random.random() < 0.2:
            agent.hurry()
        count, repeated = cut(stage, f"cut-{n}", disk, history, witness)
        owing, again = owing + count, again + repeated
        if n % 10 == 0:
            cut_a_first_start(stage, f"first-{n}", inner, disk, witness)
    sent = len(history.first_sent())
    clients.end()
    upstream.settle()
    finish(agent, history)
    agent.kill9()
    return len(history.acknowledged), sent, owing, again


def left_on(stage, disk):
    """The state after a cut at this moment, mounted."""
    image = f"{disk}.cut"
    run("cp", "--reflink=always", disk, image)
    stage.callback(os.remove, image)
    return stage.mount("left", "-o", "loop", image)


def cut_a_first_start(stage, name, inner, disk, witness):
    """Whatever a cut leaves of a directory that was being created, the next start needs no repair."""
    with Stage(stage.binary, name) as own:
        newborn = Agent(own, "newborn", witness.url, state=os.path.join(inner, name))
        newborn.spawn()
        time.sleep(stage.random.uniform(0, 0.02))
        left = left_on(own, disk)
        newborn.kill9()
        agent = Agent(own, "agent", witness.url, state=os.path.join(left, name))
        agent.up()
        reply = agent.call({"op": "record", "entity_type": "SALE", "entity_id": "s-1", "action": "CREATE", "error": "x"})
        demand(reply["ok"], f"after a cut in its first start: {reply}")
        agent.kill9()
    # The disk space is for the directory that stays in use.
    shutil.rmtree(newborn.state)


def cut(stage, name, disk, history, witness):
    """One copy: another agent on it, whose upstream is unreachable, so that it delivers nothing."""
    owing, sent = history.owing(), history.first_sent()
    known = [history.acknowledged[id] for id in list(history.acknowledged)[-400:]]
    with Stage(stage.binary, name) as own:
        agent = Agent(own, "agent", witness.url, state=os.path.join(left_on(own, disk), "state"))
        agent.up()
        live = agent.live()
        # A failure that was accepted after the copy had not left at that moment.
        history.demand_kept(owing, live)
        history.demand_no_overtaking(sent, live)
        agent.demand_whole()
        again = stage.random.sample(known, min(REPEATED, len(known)))
        demand_repeats(agent, again)
        agent.kill9()
    return len(owing), len(again)
