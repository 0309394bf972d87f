"""A proxy on loopback that stands before a real server and fails as networks do."""

from __future__ import annotations

import contextlib
import http.client
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# What becomes of a request: passed on; "refused": answered with 503 and not passed on; "reset": the
# connection is closed before; "lost": it is passed on, and the connection closed with its answer;
# "truncated": half of the answer's body comes; "stalled": nothing comes for `STALL_S`, and the
# connection is closed.
Fault = str
PASSED, REFUSED, RESET, LOST, TRUNCATED = "passed", "refused", "reset", "lost", "truncated"
STALLED, STALL_S = "stalled", 6.0


class FaultyProxy:
    """``url``: where it listens.  ``fault``: asked for each request by method and path.

    ``seen``: method, path and fault of each request that was not passed on whole.
    """

    def __init__(self, port: int, fault: Callable[[str, str], Fault]):
        self.seen: list[tuple[str, str, Fault]] = []
        self._lock = threading.Lock()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def _handle(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                with proxy._lock:
                    chosen = fault(self.command, self.path)
                    if chosen != PASSED:
                        proxy.seen.append((self.command, self.path, chosen))
                if chosen == RESET:
                    self._close()
                    return
                if chosen == STALLED:
                    time.sleep(STALL_S)
                    self._close()
                    return
                if chosen == REFUSED:
                    self._answer(503, {}, b"busy")
                    return
                status, headers, content = self._ask(body)
                if chosen == LOST:
                    self._close()
                elif chosen == TRUNCATED:
                    self._answer(status, headers, content, cut=len(content) // 2)
                else:
                    self._answer(status, headers, content)

            def _ask(self, body: bytes):
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
                headers = {name: each for name, each in self.headers.items() if name != "Host"}
                connection.request(self.command, self.path, body or None, headers)
                answer = connection.getresponse()
                content = answer.read()
                connection.close()
                return answer.status, dict(answer.getheaders()), content

            def _answer(self, status, headers, content, cut=None):
                self.send_response(status)
                for name, value in headers.items():
                    if name.lower() not in ("transfer-encoding", "content-length", "connection"):
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content[:cut])
                if cut is not None:
                    self._close()

            def _close(self):
                self.close_connection = True
                with contextlib.suppress(OSError):
                    self.connection.shutdown(2)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = _handle

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    @contextlib.contextmanager
    def running(self) -> Iterator[FaultyProxy]:
        thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
