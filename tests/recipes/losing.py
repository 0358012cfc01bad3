"""A proxy that loses responses: forwards each request, and closes the connection instead of returning the
response to the first request of each of the first keys. So the server has it, and the agent does not know.

    losing.py PORT TARGET_PORT KEYS [VICTIM]

While the file VICTIM exists, the next request with a key is passed on, and the process whose id the file
holds is killed while it works at it.
"""
import http.client
import http.server
import os
import signal
import sys
import threading

LOST, LOCK = {}, threading.Lock()


def loses(key):
    """Whether this is the first request of one of the first keys."""
    with LOCK:
        if key is None or key in LOST or len(LOST) >= int(sys.argv[3]):
            return False
        LOST[key] = True
        return True


def victim():
    """The process that this request ends, once."""
    with LOCK:
        try:
            with open(sys.argv[4]) as file:
                pid = int(file.read())
            os.unlink(sys.argv[4])
            return pid
        except (IndexError, FileNotFoundError):
            return None


class Line(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def forward(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        key = self.headers.get("Idempotency-Key")
        dies = victim() if key else None
        target = http.client.HTTPConnection("127.0.0.1", int(sys.argv[2]), timeout=20)
        try:
            # The path unchanged: http.client would not decode it either.
            target.request(self.command, self.path, body, dict(self.headers))
            if dies:
                os.kill(dies, signal.SIGKILL)
                print("killed", key, flush=True)
            answer = target.getresponse()
            said = answer.read()
        except (OSError, http.client.HTTPException):
            self.close_connection = True
            return
        finally:
            target.close()
        if loses(key):
            print("lost", key, answer.status, flush=True)
            self.close_connection = True
            return
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_HEAD = do_GET = forward


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Line).serve_forever()
