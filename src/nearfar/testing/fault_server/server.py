"""A real HTTP server on loopback that plays good replies and faults by script."""

import asyncio
import contextlib
import json
import socket
import struct
import threading
import time
from collections import defaultdict, deque
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self

from .more_shapes import GoogleShape, OllamaShape
from .script import Fault, Reply, SeenRequest, Status, Step, StepByRule
from .shapes import AnthropicShape, Event, OpenAIShape, Shape

_SHAPES: dict[str, Shape] = {
    "/chat/completions": OpenAIShape(),
    "/messages": AnthropicShape(),
    ":generateContent": GoogleShape(),
    ":streamGenerateContent": GoogleShape(),
    "/api/chat": OllamaShape(),
}


class UnexpectedRequestError(AssertionError):
    """The server was asked more often than its script says, or less often."""


class FaultServer:
    """Plays ``script`` step by step, over real sockets, and notes what it saw.

    >>> with FaultServer(Status(500), Reply("hello")) as server:
    ...     model = ChatOpenAI(base_url=server.openai_url, api_key="none", model="m")

    Each request takes the next step: of its own model's script where ``add(..., model=...)`` gave one,
    else of the common script. When that is used up the ``default`` answers, a step or a function that
    makes one of the request; without one the request gets a 500 and leaving the ``with`` block raises
    ``UnexpectedRequestError``, as it does when steps were never asked for. It speaks HTTP/1.1 with kept
    connections: OpenAI's chat completions at ``openai_url``; Anthropic's messages, Gemini's
    ``generateContent`` and Ollama's chat at ``url``.
    """

    def __init__(self, *script: Step, default: Step | StepByRule | None = None) -> None:
        self.default = default
        self.requests: list[SeenRequest] = []
        self.connections = 0
        self._scripts: dict[str | None, deque[Step]] = defaultdict(deque)
        self._scripts[None].extend(script)
        self._unexpected: list[SeenRequest] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._port = 0
        self._stop: asyncio.Event | None = None
        self._lock = threading.Lock()

    # ------------------------------------------------------------------ what tests use

    @property
    def url(self) -> str:
        """``http://127.0.0.1:PORT``."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def openai_url(self) -> str:
        """The ``base_url`` for OpenAI-shaped clients."""
        return f"{self.url}/v1"

    @property
    def anthropic_url(self) -> str:
        """The ``base_url`` for Anthropic-shaped clients."""
        return self.url

    def add(self, *steps: Step, model: str | None = None) -> None:
        """Append steps to the common script, or to that of one model."""
        with self._lock:
            self._scripts[model].extend(steps)

    def seen(self, model: str | None = None) -> list[SeenRequest]:
        """The requests so far, oldest first; those for one model if it is named."""
        return [r for r in list(self.requests) if model is None or r.model == model]

    def assert_exhausted(self) -> None:
        """Raise unless every step was asked for and nothing else was."""
        left = sum(len(steps) for steps in self._scripts.values())
        if left:
            raise UnexpectedRequestError(f"{left} scripted steps were never asked for")
        if self._unexpected:
            paths = ", ".join(f"{r.path} ({r.model})" for r in self._unexpected)
            raise UnexpectedRequestError(f"requests beyond the script: {paths}")

    def start(self) -> Self:
        """Listen; returns when the port is open."""
        ready = threading.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(ready)), name="fault-server", daemon=True
        )
        self._thread.start()
        ready.wait(10)
        return self

    def stop(self) -> None:
        """Close every connection and the port: from now on the address refuses."""
        if self._loop is not None and self._stop is not None and self._thread is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(10)
            self._loop = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        if error is None:
            self.assert_exhausted()

    # ------------------------------------------------------------------ the server

    async def _serve(self, ready: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._connection, "127.0.0.1", self._port)
        self._port = server.sockets[0].getsockname()[1]
        ready.set()
        await self._stop.wait()
        server.close()
        tasks = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        # A cancelled handler is the server's own stop: streams' callback would report it otherwise.
        ended = (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError)
        with contextlib.suppress(*ended):
            while (request := await _read_request(reader)) is not None:
                step = self._take(request)
                if not await self._play(_Wire(writer), request, step):
                    break
        writer.close()

    def _take(self, request: SeenRequest) -> Step:
        with self._lock:
            self.requests.append(request)
            steps = self._scripts.get(request.model) or self._scripts[None]
            if steps:
                step = steps.popleft()
            elif self.default is not None:
                step = self.default(request) if callable(self.default) else self.default
            else:
                self._unexpected.append(request)
                step = Status(500, message="the script of this server has no step for this request")
            request.step = step
            return step

    async def _play(self, wire: "_Wire", request: SeenRequest, step: Step) -> bool:
        """Answer one request; False when the connection must not be used again."""
        shape = next((s for tail, s in _SHAPES.items() if request.path.endswith(tail)), None)
        if shape is None:
            await wire.json(404, {"error": {"message": f"no such path: {request.path}"}})
            return True
        if isinstance(step, Status):
            headers = dict(step.headers)
            if step.retry_after is not None:
                headers["retry-after"] = step.retry_after
            body = step.body if step.body is not None else shape.error_body(step)
            await wire.json(step.status, body, headers)
            request.finished = True
            return True
        player = _Player(wire, shape, request, step)
        request.finished = await player.play()
        return request.finished


class _Player:
    """Plays one reply, streamed or whole, with the fault that belongs to it."""

    def __init__(self, wire: "_Wire", shape: Shape, request: SeenRequest, step: Reply | Fault):
        self.wire, self.shape, self.request = wire, shape, request
        self.fault = step if isinstance(step, Fault) else None
        self.reply = step.reply if isinstance(step, Fault) else step

    async def play(self) -> bool:
        await asyncio.sleep(self.reply.delay_s)
        if self._strikes("headers") and not await self._strike():
            return False
        return await (self._stream() if self.request.stream else self._whole())

    def _strikes(self, point: str) -> bool:
        whole_stream = {"empty", "no_end"}
        return (
            self.fault is not None
            and self.fault.at == point
            and self.fault.kind not in whole_stream
        )

    async def _strike(self) -> bool:
        """Play the fault here; True when the reply goes on afterwards."""
        fault = self.fault
        assert fault is not None  # noqa: S101  (asked only where a fault stands)
        if fault.kind in {"slow", "stall"}:
            await asyncio.sleep(fault.seconds)
            return fault.kind == "slow"
        if fault.kind == "reset":
            self.wire.reset()
            return False
        if fault.kind == "error_event" and self.wire.streaming:
            await self.wire.chunk(self.shape.error_event(fault.error_type))
            await self.wire.end()
            return False
        if fault.kind == "malformed" and self.wire.streaming:
            await self.wire.chunk(self.shape.malformed_event())
            return True
        self.wire.cut()
        return False

    async def _stream(self) -> bool:
        await self.wire.open_stream({"content-type": self.shape.content_type, **self.reply.headers})
        if self._strikes("first_token") and not await self._strike():
            return False
        sent = 0
        for event in self._events():
            if event.role == "content":
                due = self.fault is not None and sent == self.fault.after
                if due and self._strikes("midstream") and not await self._strike():
                    return False
                await asyncio.sleep(self.reply.gap_s)
                sent += 1
            await self.wire.chunk(event.data)
        await self.wire.end()
        return True

    def _events(self) -> list[Event]:
        events = self.shape.events(self.reply, {**self.request.body, "model": self.request.model})
        if self.fault is not None and self.fault.kind == "empty":
            return []
        if self.fault is not None and self.fault.kind == "no_end":
            return [e for e in events if e.role in {"open", "content"}]
        return events

    async def _whole(self) -> bool:
        body = json.dumps(self.shape.whole(self.reply, self.request.model)).encode()
        fault = self.fault
        if fault is not None and fault.kind in {"empty", "no_end"}:
            body = b"" if fault.kind == "empty" else body[: len(body) // 2]
        elif fault is not None and fault.kind == "malformed":
            body = body[:-2] + b"!!"
        elif fault is not None and fault.kind == "error_event":
            body = json.dumps(self.shape.error_body(Status(500))).encode()
        elif fault is not None and fault.at != "headers":
            first, rest = (b"", body) if fault.at == "first_token" else _halves(body)
            await self.wire.head(200, len(body), dict(self.reply.headers))
            await self.wire.raw(first)
            if not await self._strike():
                return False
            await self.wire.raw(rest)
            return True
        await self.wire.body(200, body, dict(self.reply.headers))
        return True


def _halves(body: bytes) -> tuple[bytes, bytes]:
    return body[: len(body) // 2], body[len(body) // 2 :]


class _Wire:
    """Writes HTTP/1.1 responses, and breaks them."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self.streaming = False

    async def json(
        self, status: int, body: dict[str, Any] | str, headers: dict[str, str] | None = None
    ) -> None:
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        await self.body(status, data, headers or {})

    async def body(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self._head(status, {"content-length": str(len(data)), **headers})
        await self.raw(data)

    async def head(self, status: int, length: int, headers: dict[str, str]) -> None:
        self._head(status, {"content-length": str(length), **headers})
        await self._writer.drain()

    async def raw(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def open_stream(self, headers: dict[str, str]) -> None:
        self.streaming = True
        self._head(200, {"transfer-encoding": "chunked", **headers})
        await self._writer.drain()

    async def chunk(self, data: bytes) -> None:
        self._writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        await self._writer.drain()

    async def end(self) -> None:
        await self.raw(b"0\r\n\r\n")

    def reset(self) -> None:
        """End with RST: a zero linger makes the close an abort."""
        sock = self._writer.get_extra_info("socket")
        linger = struct.pack("hh" if _WINDOWS else "ii", 1, 0)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._writer.transport.abort()

    def cut(self) -> None:
        self._writer.close()

    def _head(self, status: int, headers: dict[str, str]) -> None:
        fields = {"content-type": "application/json", "x-request-id": "req_1", **headers}
        lines = [f"HTTP/1.1 {status} {'OK' if status < 400 else 'Error'}"]
        lines += [f"{name}: {value}" for name, value in fields.items()]
        self._writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))


_WINDOWS = hasattr(socket, "SO_EXCLUSIVEADDRUSE")


async def _read_request(reader: asyncio.StreamReader) -> SeenRequest | None:
    """The next request of a connection; None when the caller closed it."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ", 2)
    headers = dict(_fields(lines))
    if headers.get("transfer-encoding", "").lower() == "chunked":
        data = await _read_chunks(reader)
    else:
        data = await reader.readexactly(int(headers.get("content-length", "0")))
    body = json.loads(data) if data else {}
    return SeenRequest(method, path.split("?")[0], headers, body, time.monotonic())


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    data = b""
    while size := int(await reader.readline(), 16):
        data += await reader.readexactly(size)
        await reader.readexactly(2)
    await reader.readexactly(2)
    return data


def _fields(lines: Iterable[str]) -> Iterable[tuple[str, str]]:
    for line in lines:
        name, mark, value = line.partition(":")
        if mark:
            yield name.strip().lower(), value.strip()
