"""Wall clocks that are wrong by years at a start, and then by as much in the other direction.
faketime changes the wall clock only, as an empty battery does; the agent's own time decides.
"""

import os

from agent import Agent
from history import History, demand_nothing_counted, demand_repeats
from load import Record
from stage import Skipped, demand, need, wait_until
from upstream import Upstream

# One per start over the same directory. A clock before 1970 is an hour before it.
CLOCKS = ["+0", "+3652d", "-3652d", "@1969-12-31 23:00:00", "+3652d", "+0"]
HOUR = 3600


def check(stage, _):
    library = preload()
    history = History()
    upstream = Upstream(stage, history)
    agent = Agent(stage, "agent", upstream.url)
    with open(agent.config) as file:
        patient = file.read().replace('backoff = ["0s"]', 'backoff = ["1h"]')
    with open(agent.config, "w") as file:
        file.write(patient)
    years, waiting = [], set()
    for number, clock in enumerate(CLOCKS):
        # The upstream is always reachable: every recovery makes all unattempted failures due.
        agent.up(environment={"LD_PRELOAD": library, "FAKETIME": clock, "TZ": "UTC", "FAKETIME_DONT_FAKE_MONOTONIC": "1"})
        record(agent, history, f"line-{number}", "connect ETIMEDOUT")
        step = record(agent, history, f"step-{number}", "HTTP 500: no")
        created = agent.rows("SELECT created_at FROM sync_failures WHERE id = ?", step.id)[0][0]
        years.append(str(created)[:4])
        history.demand_kept(history.owing(), agent.live())
        owed_by_line = {one.id for one in history.acknowledged.values() if one.request["entity_id"].startswith("line")}
        wait_until(f"what waits for the line only, with the clock {clock}", lambda: not owed_by_line & agent.live())
        demand_in_time(history, agent, clock)
        live = agent.live()
        if number and years[-1] < years[-2]:
            demand(waiting <= live, f"sent before its hour when the clock went back to {clock}: {waiting - live}")
        waiting = live
        agent.kill9()
    demand(len(set(years)) >= 3, f"the clocks were not moved: {years}")
    agent.up()
    history.demand_kept(history.owing(), agent.live())
    agent.hurry()
    wait_until("everything being delivered", lambda: not agent.live(), look=0.02)
    history.demand_order()
    demand_nothing_counted(agent)
    demand_repeats(agent, history.acknowledged.values())
    agent.demand_whole()
    return f"{len(CLOCKS)} starts in the years {' '.join(years)}: nothing lost, premature or stranded"


def demand_in_time(history, agent, clock):
    """A failure with an hour of backoff is due within it, whatever the clock says. A start may count a
    forward step of the wall clock as elapsed time, up to three days: then it has been sent."""
    steps = [one for one in history.acknowledged.values() if one.request["entity_id"].startswith("step")]
    lived = agent.rows("SELECT agent_time FROM agent")[0][0]
    for one in steps:
        found = agent.rows("SELECT due_at FROM sync_failures WHERE id = ?", one.id)
        if found:
            rest = found[0][0] - lived
            demand(0 < rest <= 1.2 * HOUR * 1000, f"{one.id} is due in {rest} ms with the clock {clock}")


def record(agent, history, entity, error):
    one = Record({"op": "record", "entity_type": "SALE", "entity_id": entity, "action": "CREATE", "error": error,
                  "idempotency_key": entity, "payload": {"at": entity}})
    reply = agent.call(one.request)
    demand(reply["ok"], f"refused: {reply}")
    history.acknowledge(one, reply)
    return one


def preload():
    """faketime's library; the command itself would replace the agent's process."""
    need("faketime", "faketime")
    for root in ("/usr/lib", "/usr/lib64"):
        for found, _, names in os.walk(root):
            if "libfaketime.so.1" in names:
                return os.path.join(found, "libfaketime.so.1")
    raise Skipped("libfaketime.so.1 is missing (Debian package libfaketime)")
