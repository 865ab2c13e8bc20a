"""A server that does something and counts how often; it honours idempotency keys, or does not."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class FarSide:
    """``done`` lists what was done, in order: with keys honoured, each key once."""

    def __init__(self, *, honours: bool) -> None:
        self.honours = honours
        self.done: list[str] = []
        self.requests = 0
        self._replies: dict[str, str] = {}
        self._lock = threading.Lock()

    def post(self, key: str | None, what: str) -> str:
        with self._lock:
            self.requests += 1
            if self.honours and key in self._replies:
                return self._replies[key]
            self.done.append(what)
            reply = f"receipt {len(self.done)}"
            if key is not None:
                self._replies[key] = reply
            return reply

    @contextmanager
    def served(self) -> Iterator[str]:
        """Its URL, for the length of the block."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


def _handler(far: FarSide) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self._answer({"receipt": far.post(self.headers.get("Idempotency-Key"), body["what"])})

        def do_GET(self) -> None:
            self._answer({"done": far.done})

        def _answer(self, value: Any) -> None:
            content = json.dumps(value).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    return Handler
