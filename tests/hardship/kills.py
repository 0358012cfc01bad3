"""kill -9 at random moments under load, also during a start; then a restart on the same directory."""

import time

from agent import Agent
from history import History, demand_nothing_counted, demand_repeats
from load import Storm
from stage import demand, wait_until
from upstream import Upstream

# Kills per directory: its history of attempts grows, and with it the time to read it.
A_LIFE = 400


def check(stage, kills):
    begun, records, sent, again = time.monotonic(), 0, 0, 0
    for life, first in enumerate(range(0, kills, A_LIFE)):
        history, during = storm(stage, f"life-{life}", min(A_LIFE, kills - first))
        records, sent = records + len(history.acknowledged), sent + during
        again += sum(sending.tries - 1 for sending in history.sent.values())
    demand(sent and again, f"no delivery was hit: {sent} sent between the kills, {again} sent again")
    minutes = (time.monotonic() - begun) / 60
    return (f"{kills} kills, {kills / minutes:.0f} a minute; {records} acknowledged, "
            f"{sent} sent between the kills, {again} sent again")


def storm(stage, name, kills):
    history = History()
    upstream = Upstream(stage, history)
    agent = Agent(stage, name, upstream.url)
    upstream.change_at_random(stage.random, 1.0)
    clients = Storm(agent.app, history, stage.random, pause=0.04)
    for _ in range(kills):
        agent.spawn()
        if stage.random.random() < 0.2:
            time.sleep(stage.random.uniform(0, 0.03))  # At some moment of its start.
        else:
            owing = history.owing()
            agent.wait_up()
            if stage.random.random() < 0.8:
                agent.hurry()  # Its next probe may come after the next kill.
            history.demand_kept(owing, agent.live())
            time.sleep(stage.random.uniform(0, 0.15))
        agent.kill9()
    during = len(history.first_sent())
    agent.up()
    clients.end()
    upstream.settle()
    finish(agent, history)
    records = list(history.acknowledged.values())
    demand_repeats(agent, stage.random.sample(records, min(500, len(records))))
    agent.kill9()
    upstream.close()
    return history, during


def finish(agent, history):
    """Everything arrives, nothing is lost, and all promises were kept."""
    history.demand_kept(history.owing(), agent.live())
    agent.hurry()
    wait_until("everything being delivered", lambda: not agent.live(), look=0.02)
    history.demand_order()
    agent.demand_whole()
    demand_nothing_counted(agent)
    tries = agent.rows("SELECT COUNT(*), COUNT(DISTINCT failure_id) FROM sync_attempts WHERE class = 'delivered'")
    wanted = len(history.acknowledged)
    demand(tries == [(wanted, wanted)], f"{wanted} left, the history has (acceptances, failures) {tries}")
