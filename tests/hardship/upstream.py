"""A head office on this machine: accepts, is busy, loses its responses, or is unreachable, in phases."""

import hashlib
import socket
import threading

ACCEPT, BUSY, LOSE, GONE = "accept", "busy", "lose", "gone"


class Upstream:
    """Listens until the stage ends; adds every delivery to the history before it responds."""

    def __init__(self, stage, history):
        self.history = history
        self.mode = ACCEPT
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = "http://127.0.0.1:%d/sync" % self.listener.getsockname()[1]
        self.phases = None
        self.ended = threading.Event()
        stage.callback(self.close)
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self.ended.set()
        self.listener.close()

    def change_at_random(self, random, longest):
        """Changes the phase from time to time, until `settle`."""
        self.phases = threading.Event()

        def go_on(phases=self.phases):
            while not phases.wait(random.uniform(longest / 10, longest)):
                self.mode = random.choices([ACCEPT, LOSE, BUSY, GONE], [6, 2, 1, 1])[0]

        threading.Thread(target=go_on, daemon=True).start()

    def settle(self):
        """Accepts from now on."""
        if self.phases is not None:
            self.phases.set()
        self.mode = ACCEPT

    def _accept(self):
        while not self.ended.is_set():
            try:
                stream, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(stream,), daemon=True).start()

    def _serve(self, stream):
        with stream, stream.makefile("rb") as file:
            try:
                while not self.ended.is_set() and self.mode != GONE and self._answer(stream, file):
                    pass
            except OSError:
                pass  # The agent was killed during the request.

    def _answer(self, stream, file):
        """One request; False when the connection ends."""
        line = file.readline().split()
        if len(line) < 2:
            return False
        headers = {}
        while (header := file.readline().rstrip(b"\r\n")):
            name, _, value = header.partition(b":")
            headers[name.lower()] = value.strip().decode()
        length = int(headers.get(b"content-length", 0))
        body = file.read(length)
        if len(body) < length:
            return False
        mode = self.mode
        if mode == GONE:
            return False
        if line[0] != b"HEAD":
            digest = hashlib.sha256(body).hexdigest()
            request = (headers[b"idempotency-key"], line[0].decode(), line[1].decode(), digest)
            self.history.receive(headers[b"resync-id"], request, mode in (ACCEPT, LOSE))
            if mode == LOSE:
                return False
        status = b"503 Busy" if mode == BUSY else b"201 Created"
        content = b"" if line[0] == b"HEAD" else b"{}"
        stream.sendall(b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
                       % (status, len(content), content))
        return True
