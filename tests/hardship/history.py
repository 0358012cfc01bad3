"""The acknowledgements and the deliveries that the upstream has received, kept outside the agent, and the
one checker of the promises that all checks use: durability, refusal, order, one key, budget, progress.

An upstream's acceptance counts from the moment at which it decided to accept, whether or not the agent ever
read the response.
"""

import threading
from dataclasses import dataclass, field

from stage import Lost, demand


@dataclass
class Record:
    """One failure that an application wants kept."""

    request: dict
    id: str = ""
    seq: int = 0

    @property
    def key(self):
        return self.request["idempotency_key"]

    @property
    def order(self):
        return (self.request["entity_type"], self.request["entity_id"])


@dataclass
class Sending:
    """All that the upstream has received of one id."""

    first: int
    request: tuple
    accepted: int | None = None
    tries: int = 1
    problems: list = field(default_factory=list)


class History:
    def __init__(self):
        self.lock = threading.Lock()
        self.acknowledged = {}
        self.owed = set()
        self.sent = {}
        self.problems = []
        self.clock = 0

    # ---- events

    def acknowledge(self, record, reply):
        """The agent said ok."""
        with self.lock:
            record.id, record.seq = reply["id"], reply["seq"]
            known = self.acknowledged.get(record.id)
            if known is not None and known.key != record.key:
                self.problems.append(f"durability: {known.key} and {record.key} were both acknowledged as {record.id}")
            self.acknowledged[record.id] = record
            sending = self.sent.get(record.id)
            if sending is None or sending.accepted is None:
                self.owed.add(record.id)

    def receive(self, id, request, accepts):
        """The upstream has read a delivery: its key, method, path and body."""
        with self.lock:
            self.clock += 1
            sending = self.sent.get(id)
            if sending is None:
                sending = self.sent[id] = Sending(self.clock, request)
            else:
                sending.tries += 1
                if sending.request != request:
                    self.problems.append(f"one key: two tries of {id} differ: {sending.request} and {request}")
            if accepts and sending.accepted is None:
                sending.accepted = self.clock
                self.owed.discard(id)

    def owing(self):
        """What the agent must have at this moment and later, until it is accepted."""
        with self.lock:
            return set(self.owed)

    def first_sent(self):
        """Everything that has been sent so far, at least once."""
        with self.lock:
            return set(self.sent)

    # ---- the promises

    def demand_kept(self, owing, live):
        """durability: `owing` was owed before, `live` exists after the fault; whatever left in between was accepted."""
        with self.lock:
            lost = [id for id in owing - live if id in self.owed]
        demand(not lost, f"durability: {len(lost)} acknowledged and lost: {lost[:3]}")

    def demand_no_overtaking(self, sent, live):
        """Order, on disk: before a failure was sent, the removal of its predecessors was committed."""
        with self.lock:
            known = [self.acknowledged[id] for id in live if id in self.acknowledged]
            waiting = {}
            for record in known:
                waiting[record.order] = min(record.seq, waiting.get(record.order, record.seq))
            bad = [id for id in sent if id in self.acknowledged
                   and waiting.get(self.acknowledged[id].order, 1 << 62) < self.acknowledged[id].seq]
        demand(not bad, f"order: {len(bad)} were sent before their predecessors' leaving was on disk: {bad[:3]}")

    def demand_order(self):
        """Order, one key and progress when everything has been delivered."""
        with self.lock:
            demand(not self.problems, f"{len(self.problems)} problems: {self.problems[:2]}")
            demand(not self.owed, f"progress: {len(self.owed)} were never delivered: {sorted(self.owed)[:3]}")
            strangers = self.sent.keys() - self.acknowledged.keys()
            demand(not strangers, f"refused means absent: {len(strangers)} were sent that no client recorded: {sorted(strangers)[:3]}")
            self._keys_are_one_to_one()
            lines = {}
            for record in sorted(self.acknowledged.values(), key=lambda record: record.seq):
                before = lines.get(record.order)
                lines[record.order] = record
                if before is not None:
                    self._follows(before, record)

    def _keys_are_one_to_one(self):
        seen = {}
        for id, sending in self.sent.items():
            key = sending.request[0]
            wanted = self.acknowledged[id].key
            demand(key == wanted, f"one key: {id} was recorded under {wanted} and sent under {key}")
            demand(seen.setdefault(key, id) == id, f"one key: {key} was sent as {id} and as {seen[key]}")
        seqs = [record.seq for record in self.acknowledged.values()]
        demand(len(seqs) == len(set(seqs)), "a seq was used twice")

    def _follows(self, before, record):
        earlier, later = self.sent.get(before.id), self.sent.get(record.id)
        if later is None:
            return
        if earlier is None or earlier.accepted is None or earlier.accepted > later.first:
            raise Lost(f"order: {record.id} ({record.order}) was sent before {before.id} was accepted")


def demand_repeats(agent, records):
    """An acknowledged record, repeated, is answered with the first one's id."""
    from agent import Client

    records = list(records)
    with Client(agent.app) as client:
        client.send(record.request for record in records)
        for record in records:
            reply = client.reply()
            same = reply.get("ok") and reply["duplicate"] and reply["id"] == record.id
            demand(same, f"durability: {record.key}, acknowledged as {record.id}, repeated, gets {reply}")


def demand_nothing_counted(agent):
    """budget: faults of the network, the power and the disk use no retry."""
    counted = agent.rows("SELECT failure_id, class, why FROM sync_attempts WHERE counted <> 0 LIMIT 3")
    demand(not counted, f"budget: retries were counted: {counted}")
