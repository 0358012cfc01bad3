"""Load and faults of any length: many applications, an upstream in phases, kills, stops, idle
connections, and limits on the agent's resources."""

import os
import signal
import time

from agent import Agent, Client
from history import History, demand_repeats
from kills import finish
from load import Storm
from stage import Stage, demand, wait_until
from upstream import Upstream

RSS_MIB, DESCRIPTORS, THREADS = 48, 160, 24
# Seconds per directory.
A_LIFE = 600
IDLE = 100


def check(stage, seconds):
    end = time.monotonic() + seconds
    most, acknowledged, faults, lives = {"rss": 0, "descriptors": 0, "threads": 0}, 0, 0, 0
    while lives == 0 or time.monotonic() < end:
        with Stage(stage.binary, stage.random.random()) as own:
            more = live_through(own, min(end, time.monotonic() + A_LIFE), most)
        acknowledged, faults, lives = acknowledged + more[0], faults + more[1], lives + 1
    demand(faults and acknowledged, f"{acknowledged} acknowledged, {faults} faults: that was no soak")
    return (f"{acknowledged} acknowledged, {faults} kills and stops in {lives} lives; at most {most['rss']} MiB, "
            f"{most['descriptors']} descriptors, {most['threads']} threads")


def live_through(stage, end, most):
    history = History()
    upstream = Upstream(stage, history)
    agent = Agent(stage, "agent", upstream.url)
    agent.up()
    upstream.change_at_random(stage.random, 8.0)
    storms = [Storm(agent.app, history, stage.random, pause=0.05, name=name) for name in ("a", "b")]
    faults, idle = 0, connect(agent)
    while time.monotonic() < end:
        next_fault = min(end, time.monotonic() + stage.random.uniform(1, 10))
        while time.monotonic() < next_fault:
            look(agent.child.pid, most)
            time.sleep(0.1)
        owing = history.owing()
        faults += 1
        if stage.random.random() < 0.5:
            agent.kill9()
        else:
            demand(agent.stop() == 0, f"a stop ended wrongly: {agent.last_words()}")
        for client in idle:
            client.close()
        agent.up()
        history.demand_kept(owing, agent.live())
        idle = connect(agent)
    for storm in storms:
        storm.end()
    upstream.settle()
    finish(agent, history)
    look(agent.child.pid, most)
    demand_repeats(agent, list(history.acknowledged.values())[-200:])
    for client in idle:
        client.close()
    wait_until("descriptors of clients that have gone being closed", lambda: descriptors(agent.child.pid) < IDLE, look=0.05)
    agent.child.send_signal(signal.SIGTERM)
    demand(agent.ended() == 0, "the last stop ended wrongly")
    return len(history.acknowledged), faults


def connect(agent):
    """Clients that send nothing more."""
    clients = [Client(agent.app) for _ in range(IDLE)]
    for client in clients:
        demand(client.call({"op": "hello"})["ok"], "no hello")
    return clients


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def look(pid, most):
    """The agent's current use of resources."""
    with open(f"/proc/{pid}/status") as file:
        status = dict(line.split(":", 1) for line in file)
    rss = int(status["VmRSS"].split()[0]) >> 10
    for name, found, ceiling in (("rss", rss, RSS_MIB), ("descriptors", descriptors(pid), DESCRIPTORS),
                                 ("threads", int(status["Threads"]), THREADS)):
        most[name] = max(most[name], found)
        demand(found <= ceiling, f"bounds: {name} {found}, the ceiling is {ceiling}")
