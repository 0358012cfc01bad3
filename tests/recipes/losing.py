"""A line that loses answers: forwards each request, and breaks off instead of passing on the answer
to the first request of each of the first keys. So the server has it, and the agent does not know.

    losing.py PORT TARGET_PORT KEYS
"""
import http.client
import http.server
import sys
import threading

LOST, LOCK = {}, threading.Lock()


def loses(key):
    """Is this the first request of one of the first keys?"""
    with LOCK:
        if key is None or key in LOST or len(LOST) >= int(sys.argv[3]):
            return False
        LOST[key] = True
        return True


class Line(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def forward(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        target = http.client.HTTPConnection("127.0.0.1", int(sys.argv[2]), timeout=20)
        try:
            # The path as it came: http.client would not decode it either.
            target.request(self.command, self.path, body, dict(self.headers))
            answer = target.getresponse()
            said = answer.read()
        except OSError:
            self.close_connection = True
            return
        finally:
            target.close()
        if loses(self.headers.get("Idempotency-Key")):
            print("lost", self.headers["Idempotency-Key"], answer.status, flush=True)
            self.close_connection = True
            return
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    do_POST = do_PUT = do_HEAD = do_GET = forward


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Line).serve_forever()
