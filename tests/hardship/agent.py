"""The real agent: the binary, in its own directory, and its clients."""

import json
import os
import signal
import socket
import sqlite3
import subprocess

from stage import Lost, demand, wait_until

CONFIG = """[agent]
terminal_id = "till-07"
state_dir = "{state}"
socket = "{app}"
admin_socket = "{admin}"
[retry]
backoff = ["0s"]
[limits]
{limits}
[upstream.hq]
url = "{url}"
timeout = "5s"
max_pause = "1s"
"""


class Client:
    """A connection to a socket of the agent."""

    def __init__(self, path, patience=30):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(patience)
        try:
            self.socket.connect(path)
        except OSError:
            self.socket.close()
            raise
        self.file = self.socket.makefile("rb")

    def send(self, requests):
        """Several requests in one write."""
        self.socket.sendall(b"".join(json.dumps(request).encode() + b"\n" for request in requests))

    def reply(self):
        """The next reply; ConnectionError when there is none."""
        line = self.file.readline()
        if not line.endswith(b"\n"):
            raise ConnectionError("the agent went")
        return json.loads(line)

    def call(self, request):
        self.send([request])
        return self.reply()

    def close(self):
        self.file.close()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Agent:
    """One state directory, and the agent that runs on it. `home` holds sockets and log, `state` the table."""

    def __init__(self, stage, name, url, state=None, limits=""):
        self.binary = stage.binary
        self.home = stage.make(name)
        self.state = state or os.path.join(self.home, "state")
        self.app = os.path.join(self.home, "app.sock")
        self.admin = os.path.join(self.home, "admin.sock")
        self.config = os.path.join(self.home, "resyncd.toml")
        with open(self.config, "w") as file:
            file.write(CONFIG.format(state=self.state, app=self.app, admin=self.admin, url=url, limits=limits))
        self.child = None
        stage.callback(self.kill9)

    def spawn(self, before=(), environment=None):
        """Starts the agent, optionally under another program that replaces itself by it."""
        with open(os.path.join(self.home, "log"), "ab") as log:
            command = [*before, self.binary, "--config", self.config, "run"]
            self.child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                          env={**os.environ, **(environment or {})})

    def up(self, before=(), environment=None):
        """Starts the agent, and waits until it replies."""
        self.spawn(before, environment)
        self.wait_up()

    def wait_up(self):
        def answers():
            ended = self.child.poll()
            demand(ended is None, f"the agent ended with {ended} instead of starting: {self.last_words()}")
            try:
                return self.call({"op": "hello"}).get("ok")
            except OSError:
                return False

        wait_until("the agent's hello", answers)

    def runs(self):
        return self.child is not None and self.child.poll() is None

    def ended(self):
        """The exit status of an agent that ends without a signal."""
        try:
            return self.child.wait(10)
        except subprocess.TimeoutExpired:
            return None

    def kill9(self):
        if self.child is not None:
            self.child.kill()
            self.child.wait()
            self.child = None

    def stop(self):
        """Sends SIGTERM. Returns the exit status."""
        self.child.send_signal(signal.SIGTERM)
        status = self.child.wait(60)
        self.child = None
        return status

    def call(self, request):
        with Client(self.app) as client:
            return client.call(request)

    def ask(self, request):
        with Client(self.admin) as client:
            return client.call(request)

    def hurry(self):
        """An operator's actions when the upstream is reachable again: no failure waits for its backoff."""
        self.ask({"op": "resume"})
        self.ask({"op": "flush"})

    def log(self):
        with open(os.path.join(self.home, "log"), errors="replace") as file:
            return file.read()

    def last_words(self):
        return " | ".join(self.log().splitlines()[-3:])

    # ---- the file, as other programs see it

    def file(self):
        return os.path.join(self.state, "sync_failures.db")

    def rows(self, sql, *values):
        """The result of a SELECT; read only, so that the agent finds the log as the crash left it."""
        connection = sqlite3.connect(f"file:{self.file()}?mode=ro", uri=True, timeout=10, isolation_level=None)
        try:
            return connection.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise Lost(f"the file cannot be read: {error} ({sql})") from error
        finally:
            connection.close()

    def live(self):
        """The ids in the table."""
        return {row[0] for row in self.rows("SELECT id FROM sync_failures")}

    def demand_whole(self):
        """integrity"""
        found = self.rows("PRAGMA integrity_check")
        demand(found == [("ok",)], f"integrity: integrity_check says {found[:3]}")
