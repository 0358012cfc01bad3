"""Nine hundred local clients that misbehave in every way at once, beside an honest one and an administrator: memory
stays bounded, every honest record is acknowledged, and the administrator is always answered."""

import contextlib
import json
import multiprocessing
import random
import selectors
import socket
import subprocess
import time

from agent import Agent, Client
from stage import demand

CLIENTS, PROCESSES = 900, 3
MOST_MIB = 64
# How long an administrator waits for an answer.
PATIENCE = 8.0


def check(stage, seconds):
    agent = Agent(stage, "agent", "http://127.0.0.1:9/sync")
    agent.up()
    for n in range(1000):  # Rows to search.
        if n % 200 == 0:
            client = Client(agent.app)
        demand(client.call(record(f"old-{n}", f"old-{n}", "x" * 300))["ok"], "a quiet agent refuses a record")
    before = memory(agent, "VmRSS")
    end = time.time() + seconds
    context = multiprocessing.get_context("fork")
    crowd = [context.Process(target=Crowd(agent.app, end, CLIENTS // PROCESSES, stage.random.random()).run, daemon=True)
             for _ in range(PROCESSES)]
    for process in crowd:
        process.start()
    results, told = context.Pipe(duplex=False)
    honest = context.Process(target=be_honest, args=(agent.app, end, told), daemon=True)
    honest.start()
    try:
        questions, slowest = administrate(agent, end)
        demand(results.poll(60), "the honest client does not come to an end")
        latencies, failures = results.recv()
    finally:
        for process in [*crowd, honest]:
            process.kill()
            process.join()
    grown = memory(agent, "VmHWM") - before
    latencies.sort()
    p99 = latencies[len(latencies) * 99 // 100] if latencies else 0
    figures = (f"{grown} MiB more than the {before} at rest; {len(latencies)} honest records, p99 {p99 * 1000:.0f} ms, "
               f"slowest {max(latencies, default=0) * 1000:.0f} ms; {questions} questions of the administrator, "
               f"slowest {slowest * 1000:.0f} ms")
    demand(not failures, f"honest records failed: {failures[:3]}, {len(failures)} in all; {figures}")
    demand(latencies, f"no honest record was acknowledged; {figures}")
    demand(grown < MOST_MIB, f"memory is not bounded: {figures}")
    demand(agent.call({"op": "hello"})["ok"] and agent.runs(), "the agent does not answer any more")
    return figures


def memory(agent, which):
    with open(f"/proc/{agent.child.pid}/status") as file:
        return next(int(line.split()[1]) >> 10 for line in file if line.startswith(f"{which}:"))


def record(entity, key, text):
    return {"op": "record", "entity_type": "SALE", "entity_id": entity, "action": "CREATE", "error": "HTTP 500",
            "idempotency_key": key, "payload": {"text": text}}


# ---- clients that must not be affected


def be_honest(path, end, told):
    """Records now and then on one connection, small ones and long ones."""
    latencies, failures, n = [], [], 0
    client = Client(path)
    while time.time() < end:
        n += 1
        begun = time.monotonic()
        try:
            reply = client.call(record(f"honest-{n}", f"honest-{n}", "x" * (100_000 if n % 10 == 0 else 600)))
            if not reply["ok"]:
                failures.append(reply["error"])
        except (OSError, ValueError) as error:
            failures.append(repr(error))
            time.sleep(0.1)
            try:
                client = Client(path)
            except OSError as error:
                failures.append(repr(error))
        latencies.append(time.monotonic() - begun)
        time.sleep(0.02)
    told.send((latencies, failures))


def administrate(agent, end):
    """Sends an administrator's requests, on new connections and with the command."""
    questions, slowest, commanded = 0, 0.0, 0.0
    while time.time() < end:
        begun = time.monotonic()
        for request in ({"op": "health"}, {"op": "list", "limit": 20}, {"op": "get", "id": 1}):
            try:
                with Client(agent.admin, PATIENCE) as client:
                    reply = client.call(request)
            except (OSError, ValueError) as error:
                reply = {"ok": False, "error": repr(error)}
            demand(reply["ok"], f"the administrator gets no answer to {request['op']}: {reply.get('error')}")
            questions += 1
        slowest = max(slowest, time.monotonic() - begun)
        if time.monotonic() - commanded > 3:
            commanded = time.monotonic()
            done = subprocess.run([agent.binary, "--config", agent.config, "status"], capture_output=True, text=True,
                                  timeout=60)
            demand(done.returncode in (0, 1), f"status ends with {done.returncode}: {done.stderr.strip()}")
        time.sleep(0.1)
    return questions, slowest


# ---- misbehaving clients


class Crowd:
    """Clients of one process, each with its own behaviour."""

    def __init__(self, path, end, count, seed):
        self.path, self.end, self.count = path, end, count
        self.random = random.Random(seed)
        self.selector = selectors.DefaultSelector()
        self.ways = [HalfALine, Deaf, LongLines, Flood, Rubbish, Slow, Asker, Looker, Leftover]

    def run(self):
        clients = [self.ways[n % len(self.ways)](self) for n in range(self.count)]
        while time.time() < self.end:
            self.storm(20)
            for key, events in self.selector.select(0.005):
                key.data.turn(events)
            for client in self.random.sample(clients, 30):
                client.look()

    def connect(self):
        one = socket.socket(socket.AF_UNIX)
        one.setblocking(False)
        try:
            one.connect(self.path)
        except OSError:
            one.close()
            return None
        return one

    def storm(self, count):
        """Connections that are closed at once, some with a line."""
        for n in range(count):
            one = self.connect()
            if one is not None:
                with one, contextlib.suppress(OSError):
                    if n % 2:
                        one.send(b'{"op":"hello"}\n')


class Hostile:
    """A connection that is reopened whenever it is closed."""

    reads = True
    writes = True

    def __init__(self, crowd):
        self.crowd, self.socket, self.waiting = crowd, None, b""
        self.next = 0.0

    def look(self):
        if self.socket is None and time.monotonic() >= self.next:
            self.socket = self.crowd.connect()
            self.waiting = b""
            self.next = time.monotonic() + 0.2
            if self.socket is not None:
                events = selectors.EVENT_READ * self.reads | selectors.EVENT_WRITE * self.writes
                self.crowd.selector.register(self.socket, events, self)
        if self.socket is not None:
            self.now_and_then()

    def turn(self, events):
        if events & selectors.EVENT_READ:
            self.read()
        if self.socket is not None and events & selectors.EVENT_WRITE:
            self.write()

    def read(self, most=1 << 18):
        try:
            if not self.socket.recv(most):
                self.close()
        except BlockingIOError:
            pass
        except OSError:
            self.close()

    def write(self):
        if not self.waiting:
            self.waiting = self.more()
        try:
            self.waiting = self.waiting[self.socket.send(self.waiting):]
        except BlockingIOError:
            pass
        except OSError:
            self.close()

    def close(self):
        self.crowd.selector.unregister(self.socket)
        self.socket.close()
        self.socket = None

    def more(self):
        return b""

    def now_and_then(self):
        pass


class HalfALine(Hostile):
    """Begins a line, and continues it byte by byte."""

    writes = False

    def now_and_then(self):
        part = b'{"op":"record","entity_type":"SALE"' if self.crowd.random.random() < 0.1 else b" "
        try:
            self.socket.send(part)
        except BlockingIOError:
            pass
        except OSError:
            self.close()


class Deaf(Hostile):
    """Sends and reads nothing."""

    reads = False

    def more(self):
        return (json.dumps({"op": "hello", "ref": "x" * 3000}).encode() + b"\n") * 20


class LongLines(Hostile):
    """Lines of nearly a megabyte, as bad as possible."""

    def more(self):
        size = 1_000_000
        names = b"{" + b",".join(b'"n%07d":1' % n for n in range(size // 14)) + b"}\n"
        nested = b'{"op":"record","payload":' + b"[" * 60 + b"1," * (size // 2) + b"1" + b"]" * 60 + b"}\n"
        return self.crowd.random.choice([
            b'{"op":"hello","ref":"' + b"x" * size + b'"}\n', b"y" * size + b"\n", names, nested,
            b'{"' + b"p" * size + b'":1,"op":"hello"}\n', b"z" * (2 * size)])


class Flood(Hostile):
    """Records without a pause: always the same one, so that the quota is not what is measured."""

    def more(self):
        entity = f"flood-{self.crowd.random.randrange(50)}"
        return (json.dumps(record(entity, entity, "x" * 100)).encode() + b"\n") * 200


class Rubbish(Hostile):
    def more(self):
        return self.crowd.random.randbytes(20_000)


class Slow(Hostile):
    """Reads a little less than it receives, so that unread replies always remain."""

    def more(self):
        return (json.dumps({"op": "hello", "ref": "x" * 2000}).encode() + b"\n") * 30

    def read(self, most=1 << 12):
        super().read(most)


class Asker(Hostile):
    """Queries for which the agent has to search its table."""

    def more(self):
        return b'{"op":"unsent"}\n{"op":"health"}\n' * 50


class Looker(Hostile):
    def more(self):
        return b"".join(b'{"op":"get","id":%d}\n' % self.crowd.random.randrange(1, 1000) for _ in range(100))


class Leftover(Hostile):
    """A long line, and the first byte of the next one."""

    writes = False

    def now_and_then(self):
        if not self.waiting:
            self.waiting = b"w" * 900_000 + b"\n{"
        if self.crowd.random.random() < 0.5:
            self.write()
