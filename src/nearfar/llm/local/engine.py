"""The engine: a model in a worker process, shared by the whole program.

``Engine.shared(options)`` is the way to one. The worker starts with the first request and is started
anew by the next one after it died. All methods may be called from any thread.
"""

import asyncio
import atexit
import itertools
import logging
import os
import threading
import time
import weakref
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self

from nearfar.errors import (
    EngineBusyError,
    EngineCrashedError,
    EngineTimeoutError,
    ModelError,
    NearfarError,
)

from .process import WorkerProcess, error_from_wire
from .protocol import (
    EngineInfo,
    EngineOptions,
    EngineStats,
    Finish,
    GenerationRequest,
    PassedOver,
    TextChunk,
    Timings,
    Usage,
)
from .streams import AsyncStream, SyncStream, Ticket

__all__ = [
    "Engine",
    "EngineInfo",
    "EngineOptions",
    "EngineStats",
    "Finish",
    "GenerationRequest",
    "PassedOver",
    "TextChunk",
    "Timings",
    "Usage",
]

_FIRST_PAUSE_S = 0.5  # after a failed start; doubles with each further one
_LONGEST_PAUSE_S = 30.0
_log = logging.getLogger(__name__)
_engines: "weakref.WeakSet[Engine]" = weakref.WeakSet()


class GenerationStream(Protocol):
    """An iterator that can be closed before its end."""

    def __iter__(self) -> Iterator[TextChunk | Finish]: ...
    def __next__(self) -> TextChunk | Finish: ...
    def close(self) -> None: ...


class AsyncGenerationStream(Protocol):
    """An async iterator that can be closed before its end."""

    def __aiter__(self) -> AsyncIterator[TextChunk | Finish]: ...
    async def __anext__(self) -> TextChunk | Finish: ...
    async def aclose(self) -> None: ...


class Engine:
    """A model that generates, in a process of its own."""

    _shared: ClassVar[dict[EngineOptions, "Engine"]] = {}
    _shared_lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, options: EngineOptions) -> None:
        self.options = options.resolved()
        self._numbers = itertools.count(1)
        self._counts = dict.fromkeys(
            ("requests", "cache_hits", "reused_tokens", "generated_tokens", "starts"), 0
        )
        self._clear()
        _engines.add(self)

    def _clear(self) -> None:
        """Forget the worker: at the beginning, and in a forked child."""
        self._lock = threading.RLock()
        self._worker: WorkerProcess | None = None
        self._tickets: dict[int, Ticket] = {}
        self._infos: list[_Waiter] = []
        self._counters: dict[str, int] = {}
        self._skipped: dict[str, str] = {}  # providers that a start did not survive
        self._failed_starts = 0
        self._failure: NearfarError | None = None
        self._not_before = 0.0

    @classmethod
    def shared(cls, options: EngineOptions) -> Self:
        """The program's one engine for these options; started when it is first used."""
        options = options.resolved()
        with cls._shared_lock:
            engine = cls._shared.get(options)
            if engine is None:
                engine = cls._shared[options] = cls(options)
            return engine  # type: ignore[return-value]  # subclasses share the same table

    @classmethod
    def close_all(cls) -> None:
        """Close every engine of the program."""
        for engine in list(_engines):
            engine.close()

    def generate(self, request: GenerationRequest) -> GenerationStream:
        """Text as it comes, then a Finish. Closing or dropping the iterator cancels."""
        return SyncStream(request, self._submit, self._cancel)

    def agenerate(self, request: GenerationRequest) -> AsyncGenerationStream:
        """The same for an event loop, which it never blocks; cancelling the task cancels."""
        return AsyncStream(request, self._submit, self._cancel)

    def info(self) -> EngineInfo:
        """What is loaded and where it runs; loads it if need be. Blocks meanwhile."""
        waiter = _Waiter()
        self._ask_info(waiter)
        while not waiter.event.wait(0.5):  # Windows lets no Ctrl-C through to a wait without limit
            continue
        return self._told(waiter)

    async def ainfo(self) -> EngineInfo:
        """``info`` without blocking the event loop."""
        loop = asyncio.get_running_loop()
        told = asyncio.Event()
        waiter = _Waiter(lambda: loop.call_soon_threadsafe(told.set))
        self._ask_info(waiter)
        await told.wait()
        return self._told(waiter)

    @property
    def provider(self) -> str | None:
        """The execution provider in use; None while nothing is loaded. Starts nothing."""
        worker = self._worker
        return worker.info.provider if worker is not None and worker.info is not None else None

    def stats(self) -> EngineStats:
        """Counts so far; starts nothing."""
        with self._lock:
            begun = sum(ticket.begun for ticket in list(self._tickets.values()))
            counts, now = self._counts, self._counters
            return EngineStats(
                requests=counts["requests"],
                active=begun,
                queued=len(self._tickets) - begun,
                cache_hits=counts["cache_hits"],
                reused_tokens=counts["reused_tokens"],
                generated_tokens=counts["generated_tokens"] + now.get("generated_tokens", 0),
                cached_sequences=now.get("cached_sequences", 0),
                cache_bytes=now.get("cache_bytes", 0),
                restarts=max(0, counts["starts"] - 1),
            )

    def close(self) -> None:
        """Stop the worker; running requests fail. A later request starts it again."""
        with self._lock:
            worker, self._worker = self._worker, None
            self._failed_starts, self._failure = 0, None
            orphans = self._take_waiting()
        if worker is not None:
            worker.close()
        orphans.fail(EngineCrashedError("The engine was closed.", data={"exit_code": None}))

    def _submit(self, ticket: Ticket) -> int:
        with self._lock:
            limit = self.options.max_active + self.options.queue_limit
            if len(self._tickets) >= limit:
                queued = len(self._tickets) - self.options.max_active
                raise EngineBusyError(
                    f"{queued} requests wait for the model already, which is the limit.",
                    data={"queued": queued, "limit": self.options.queue_limit},
                )
            worker = self._running_worker()
            number = next(self._numbers)
            self._tickets[number] = ticket
            self._counts["requests"] += 1
            if worker.info is not None:
                self._send_ticket(worker, number, ticket)
        return number

    def _send_ticket(self, worker: WorkerProcess, number: int, ticket: Ticket) -> None:
        ticket.sent = time.monotonic()
        worker.send(["go", number, ticket.request.to_wire()])

    def _cancel(self, number: int) -> None:
        with self._lock:
            worker, ticket = self._worker, self._tickets.get(number)
            if ticket is None or worker is None:
                return
            if ticket.sent:
                worker.send(["cancel", number])  # it keeps its place until the worker let go
            else:
                del self._tickets[number]

    def _ask_info(self, waiter: "_Waiter") -> None:
        with self._lock:
            worker = self._running_worker()
            if worker.info is None:
                self._infos.append(waiter)
                return
            waiter.info = worker.info
        waiter.tell()

    def _told(self, waiter: "_Waiter") -> EngineInfo:
        if waiter.error is not None:
            raise waiter.error
        assert waiter.info is not None  # noqa: S101 - told means one or the other
        worker = self._worker
        rss = worker.rss_bytes() if worker is not None else 0
        return EngineInfo(**{**waiter.info.__dict__, "rss_bytes": rss or waiter.info.rss_bytes})

    def _running_worker(self) -> WorkerProcess:
        """The worker, started if there is none; held off for a while after failed starts."""
        if self._worker is None:
            wait_s = self._not_before - time.monotonic()
            if self._failure is not None and wait_s > 0:
                raise _again(self._failure, wait_s)
            self._start(self._skipped)
        assert self._worker is not None  # noqa: S101 - started just now
        return self._worker

    def _start(self, skipped: dict[str, str]) -> None:
        self._counts["starts"] += 1
        self._worker = WorkerProcess(
            self.options,
            skipped,
            on_frame=self._on_frame,
            on_end=self._on_end,
            busy=lambda: bool(self._tickets),
        )
        self._worker.start()

    def _on_frame(self, frame: list[Any]) -> None:
        kind, number = frame[0], frame[1]
        if kind == "text":
            ticket = self._tickets.get(number)
            if ticket is not None:
                ticket.text(frame[2], frame[3])
            return
        with self._lock:
            if kind == "ready":
                self._ready()
                return
            ticket = self._tickets.get(number)
            if kind == "begun":
                if ticket is not None:
                    ticket.begun = True
                return
            self._tickets.pop(number, None)
            self._counters = frame[-1]
            if kind == "done":
                cached = frame[2]["usage"][2]
                self._counts["cache_hits"] += cached > 0
                self._counts["reused_tokens"] += cached
        if ticket is not None and kind == "done":
            ticket.deliver(ticket.done(frame[2]))
        elif ticket is not None and kind == "error":
            ticket.deliver(error_from_wire(*frame[2:5]))

    def _ready(self) -> None:
        worker = self._worker
        assert worker is not None  # noqa: S101 - it is the one that spoke
        assert worker.info is not None  # noqa: S101 - set before the frame is passed on
        self._failed_starts, self._failure = 0, None
        self._skipped = worker.skipped
        info = worker.info
        _log.info(
            "local model loaded",
            extra={
                "model": str(self.options.model_path),
                "provider": info.provider,
                "passed_over": {item.provider: item.reason for item in info.passed_over},
                "load_s": round(info.load_s, 3),
                "pid": info.pid,
            },
        )
        for number, ticket in list(self._tickets.items()):
            self._send_ticket(worker, number, ticket)
        for waiter in self._infos:
            waiter.info = info
            waiter.tell()
        self._infos = []

    def _on_end(self, worker: WorkerProcess, error: NearfarError) -> None:
        with self._lock:
            if self._worker is not worker:  # closed: all is settled
                return
            if worker.trying is not None and _provider_killed_it(error):
                reason = f"The process did not survive trying it: {error.message}"
                self._start({**worker.skipped, worker.trying: reason})
                return
            self._worker = None
            if worker.info is None:
                pause = min(_FIRST_PAUSE_S * 2**self._failed_starts, _LONGEST_PAUSE_S)
                self._failed_starts += 1
                self._failure, self._not_before = error, time.monotonic() + pause
            orphans = self._take_waiting()
        _log.warning(
            "local model stopped",
            extra={
                "model": str(self.options.model_path),
                "code": error.code,
                "reason": error.message,
                "stderr": worker.stderr_tail(),
            },
        )
        orphans.fail(error)

    def _take_waiting(self) -> "_Orphans":
        """Everybody who waits for the worker that is no more."""
        self._counts["generated_tokens"] += self._counters.get("generated_tokens", 0)
        orphans = _Orphans(list(self._tickets.values()), self._infos)
        self._tickets, self._infos, self._counters = {}, [], {}
        return orphans

    def _after_fork(self) -> None:
        if self._worker is not None:
            self._worker.abandon()
        self._clear()


class _Waiter:
    """Somebody who waits for the model to be loaded."""

    def __init__(self, also: Any = None) -> None:
        self.event = threading.Event()
        self.info: EngineInfo | None = None
        self.error: NearfarError | None = None
        self._also = also

    def tell(self) -> None:
        self.event.set()
        if self._also is not None:
            self._also()


@dataclass(frozen=True)
class _Orphans:
    """Requests and questions whose worker is gone."""

    tickets: list[Ticket]
    waiters: list[_Waiter]

    def fail(self, error: NearfarError) -> None:
        """Tell each of them, outside the engine's lock."""
        for ticket in self.tickets:
            ticket.deliver(_copy(error))
        for waiter in self.waiters:
            waiter.error = _copy(error)
            waiter.tell()


def _provider_killed_it(error: NearfarError) -> bool:
    return isinstance(error, EngineCrashedError | EngineTimeoutError)


def _copy(error: NearfarError) -> NearfarError:
    """One for each request: a raised exception collects the traceback of whoever caught it."""
    return type(error)(error.message, remedy=error.remedy, data=error.data)


def _again(error: NearfarError, wait_s: float) -> ModelError:
    again = _copy(error)
    again.data["retry_after_s"] = round(wait_s, 3)
    return again  # type: ignore[return-value]  # what ends a worker is a ModelError


def _forked() -> None:
    Engine._shared_lock = threading.Lock()  # noqa: SLF001 - this module's own class
    for engine in list(_engines):
        engine._after_fork()  # noqa: SLF001 - this module's own class


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
atexit.register(Engine.close_all)
