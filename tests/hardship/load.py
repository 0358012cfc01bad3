"""Applications that record concurrently, and repeat unanswered records under the same key."""

import threading
import time

from agent import Client
from history import Record

ENTITIES = 7
# Replies after which the same record is sent again, under the same key.
PASSING = {"storage", "disk_full", "full", "busy", "shutting_down"}


class Application(threading.Thread):
    """One connection after the other; each of its entities belongs to it alone."""

    def __init__(self, path, name, history, random, pause=0.0, most=8):
        super().__init__(daemon=True)
        self.path, self.name_, self.history = path, name, history
        self.random, self.pause, self.most = random, pause, most
        self.ended = threading.Event()
        self.open = []
        self.count = 0
        self.highest = {}

    def run(self):
        while not (self.ended.is_set() and not self.open):
            try:
                with Client(self.path) as client:
                    while not (self.ended.is_set() and not self.open):
                        self._batch(client)
            except (OSError, ValueError):
                time.sleep(0.002)  # The agent is down; open records are sent again.

    def _batch(self, client):
        if not self.open:
            self.open = [self._next() for _ in range(self.random.randint(1, self.most))]
        client.send(record.request for record in self.open)
        again = []
        for record in list(self.open):
            reply = client.reply()
            if reply["ok"]:
                self.open.remove(record)
                self._acknowledged(record, reply)
            elif reply["error"]["code"] in PASSING:
                again.append(record)
            else:
                self.history.problems.append(f"refused means absent: a good record was refused: {reply}")
                self.open.remove(record)
        if again or self.pause:
            self.ended.wait(self.pause or 0.05)

    def _acknowledged(self, record, reply):
        if reply["seq"] <= self.highest.get(record.order, 0) and not reply["duplicate"]:
            self.history.problems.append(f"order: {record.key} got the seq {reply['seq']} after a higher one")
        self.highest[record.order] = max(reply["seq"], self.highest.get(record.order, 0))
        self.history.acknowledge(record, reply)

    def _next(self):
        self.count += 1
        request = {
            "op": "record", "entity_type": "SALE", "entity_id": f"{self.name_}-{self.random.randrange(ENTITIES)}",
            "action": "CREATE", "idempotency_key": f"{self.name_}-{self.count}",
            "error": "connect ETIMEDOUT", "retry": self.random.choice(["now", "auto"]),
            "payload": {"n": self.count, "text": "x" * self.random.choice([0, 40, 400, 6000])},
        }
        return Record(request)


class Storm:
    """Several applications at once."""

    def __init__(self, path, history, random, clients=4, pause=0.0, name="c"):
        fresh = type(random)
        self.applications = [Application(path, f"{name}{n}", history, fresh(random.random()), pause)
                             for n in range(clients)]
        for application in self.applications:
            application.start()

    def end(self):
        """Records nothing new from now on; open records are repeated until they are answered."""
        for application in self.applications:
            application.ended.set()
        for application in self.applications:
            application.join(60)
            if application.is_alive():
                application.history.problems.append(f"{application.name_} gets no answer: {application.open[:1]}")
