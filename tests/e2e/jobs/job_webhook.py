"""A webhook that refuses some deliveries before it accepts, and keeps what it accepted."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue
from typing import Any

WAIT_S = 30.0


class Webhook:
    """A real HTTP server.

    Args:
        refusals: HTTP status codes of the first answers.
    """

    def __init__(self, refusals: Sequence[int]) -> None:
        self.answers: list[int] = []
        self._accepted: Queue[tuple[dict[str, str], Any]] = Queue()
        left = list(refusals)
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                answer = left.pop(0) if left else 202
                outer.answers.append(answer)
                self.send_response(answer)
                self.send_header("Content-Length", "0")
                self.end_headers()
                if answer == 202:
                    outer._accepted.put(({name.lower(): value for name, value in self.headers.items()}, body))

            def log_message(self, *_: Any) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hook?functionName=job_events&code=k3y"

    def accepted(self) -> tuple[dict[str, str], Any]:
        """Headers and body of the next accepted delivery, waited for."""
        return self._accepted.get(timeout=WAIT_S)

    def serve(self) -> None:
        """Answer until it is closed."""
        self._server.serve_forever(poll_interval=0.05)

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def webhook(*refusals: int) -> Iterator[Webhook]:
    """A webhook that is up while the block runs."""
    found = Webhook(refusals)
    thread = threading.Thread(target=found.serve)
    thread.start()
    try:
        yield found
    finally:
        found.close()
        thread.join()
