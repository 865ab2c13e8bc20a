"""The parent's hold on one worker process: its pipes, its threads, its death.

Four daemon threads per worker: the reader starts the process and passes frames on; the writer keeps
blocking writes away from event loops; one collects standard error; one watches time and memory.
Everything that happens to the worker ends in exactly one call of ``on_end``.
"""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import psutil

from nearfar import errors
from nearfar.errors import (
    EngineCrashedError,
    EngineMemoryError,
    EngineTimeoutError,
    InternalError,
    ModelLoadError,
    NearfarError,
)

from .protocol import EngineInfo, EngineOptions, FrameReader, pack, write_all

_WATCH_S = 0.2
_GRACE_S = 0.5  # for a worker to leave by itself when it is closed
_STDERR_LINES = 20
_MODULE = "nearfar.llm.local.worker"
# With the parent's import paths behind its own, so that it finds what the parent found.
_BOOT = (
    "import json, runpy, sys; name = sys.argv[1]; "
    "sys.path.extend(p for p in json.loads(sys.argv[2]) if p not in sys.path); "
    "runpy.run_module(name, run_name='__main__')"
)


class WorkerProcess:
    """One process. Never restarted: a new worker is a new object."""

    def __init__(
        self,
        options: EngineOptions,
        skipped: dict[str, str],
        *,
        on_frame: Callable[[list[Any]], None],
        on_end: Callable[["WorkerProcess", NearfarError], None],
        busy: Callable[[], bool],
    ) -> None:
        self.options = options
        self.skipped = skipped  # providers not to be tried again, with reasons
        self.trying: str | None = None  # the provider that is being tried
        self.info: EngineInfo | None = None
        self._on_frame = on_frame
        self._on_end = on_end
        self._busy = busy
        self._outbox: queue.SimpleQueue[list[Any] | None] = queue.SimpleQueue()
        self._stderr: deque[str] = deque(maxlen=_STDERR_LINES)
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._ending: NearfarError | None = None  # why we ended it, if we did
        self._closed = False
        self._waited_s = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="nearfar-worker", daemon=True)

    def start(self) -> None:
        """Start it, without waiting for anything."""
        self.send(["load", self.options.to_wire(), self.skipped])
        self._thread.start()

    @property
    def closed(self) -> bool:
        """Whether it was asked to end."""
        return self._closed

    def stderr_tail(self) -> list[str]:
        """The last lines that the worker, or native code in it, wrote to standard error."""
        return list(self._stderr)

    @property
    def pid(self) -> int | None:
        """Of the process, once it runs."""
        return None if self._process is None else self._process.pid

    def send(self, frame: list[Any]) -> None:
        """Queue a frame; from any thread, never blocks."""
        self._outbox.put(frame)

    def rss_bytes(self) -> int:
        """Resident memory now; 0 if it is gone."""
        try:
            return int(psutil.Process(self.pid).memory_info().rss)
        except psutil.Error:
            return 0

    def stop(self, reason: NearfarError) -> None:
        """Kill it; ``reason`` is what its requests get."""
        with self._lock:
            self._ending = self._ending or reason
            process = self._process
        if process is not None:
            process.kill()

    def close(self) -> None:
        """End it in good order and wait until it is gone; at most about half a second."""
        with self._lock:
            self._closed = True
            process = self._process
        self._outbox.put(None)
        if process is not None:
            try:
                process.wait(_GRACE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if threading.current_thread() is not self._thread:
            self._thread.join(_GRACE_S)

    def abandon(self) -> None:
        """In a forked child: let go of the pipes, which belong to the parent's worker."""
        process = self._process
        if process is None:
            return
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
        process.returncode = 0  # it is not ours to wait for

    def _run(self) -> None:
        try:
            process = self._spawn()
        except OSError as error:
            self._on_end(self, ModelLoadError(f"The worker process could not be started: {error}"))
            return
        for target in (self._write, self._collect_stderr, self._watch):
            threading.Thread(
                target=target, args=(process,), name="nearfar-worker", daemon=True
            ).start()
        failure: NearfarError | None = None
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for
        try:
            frames = FrameReader(process.stdout.fileno())
            while (frame := frames.read()) is not None:
                self._waited_s = 0.0
                failure = self._dispatch(frame) or failure
        except Exception as error:  # noqa: BLE001 - nobody may be left waiting, whatever it is
            failure = InternalError(f"The worker could not be understood: {error!r}")
            process.kill()
        self._outbox.put(None)
        code = process.wait()
        self._ended.set()
        process.stdout.close()
        self._on_end(self, failure or self._ending or self._crash(code))

    def _spawn(self) -> subprocess.Popen[bytes]:
        paths = json.dumps([os.path.abspath(path or ".") for path in sys.path])  # noqa: PTH100
        more: dict[str, Any] = {"process_group": 0}  # so that a terminal's Ctrl-C is ours alone
        if sys.platform == "win32":
            more = {
                "creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
            }
        with self._lock:
            if self._closed or self._ending is not None:
                raise OSError("it was closed before it began")
            self._process = subprocess.Popen(
                # -P: no file of the working directory can stand in for a module.
                [sys.executable, "-P", "-c", _BOOT, _MODULE, paths],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                env={**os.environ, "ORT_DISABLE_TELEMETRY": "1"},
                **more,
            )
        return self._process

    def _dispatch(self, frame: list[Any]) -> NearfarError | None:
        kind = frame[0]
        if kind == "trying":
            self.trying = frame[1]
        elif kind == "failed":
            return error_from_wire(*frame[1:4])
        elif kind != "alive":
            if kind == "ready":
                self.trying = None
                self.info = EngineInfo.from_wire(frame[1])
            self._on_frame(frame)
        return None

    def _crash(self, code: int) -> EngineCrashedError:
        data: dict[str, Any] = {"exit_code": code, "stderr": list(self._stderr)}
        how = f"exit code {code}"
        if code < 0:
            try:
                how = signal.Signals(-code).name
            except ValueError:
                how = f"signal {-code}"
        return EngineCrashedError(f"The model's worker process died ({how}).", data=data)

    def _write(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None  # noqa: S101 - a pipe was asked for
        # When it died the reader says so.
        with contextlib.suppress(OSError):
            while (frame := self._outbox.get()) is not None:
                write_all(process.stdin.fileno(), pack(frame))
        process.stdin.close()

    def _collect_stderr(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stderr is not None  # noqa: S101 - a pipe was asked for
        rest = b""
        while data := process.stderr.read(65536):
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self._stderr.append(line.decode("utf-8", "replace").rstrip()[:500])
            rest = rest[-65536:]
        process.stderr.close()

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        before = time.monotonic()
        while process.poll() is None:
            self._ended.wait(_WATCH_S)
            now = time.monotonic()
            # A machine that slept must not look like a worker that hung.
            self._waited_s += min(now - before, 2 * _WATCH_S)
            before = now
            loading = self.info is None
            if not loading and not self._busy():
                self._waited_s = 0.0
            limit = self.options.load_timeout_s if loading else self.options.hang_s
            if self._waited_s > limit:
                self.stop(_timeout(limit, loading=loading))
            ceiling = self.options.memory_limit_mb
            if ceiling is not None and self.rss_bytes() > ceiling * 1024 * 1024:
                self.stop(
                    EngineMemoryError(
                        f"The model's worker process used more than {ceiling} MB of memory.",
                        data={"limit_mb": ceiling},
                    )
                )


def _timeout(limit: float, *, loading: bool) -> EngineTimeoutError:
    doing = "loading the model" if loading else "generating"
    return EngineTimeoutError(
        f"The worker process made no progress for {limit:g} s while {doing} and was stopped.",
        data={"limit_s": limit, "loading": loading},
    )


def error_from_wire(name: str, message: str, data: dict[str, Any]) -> NearfarError:
    """The error that the worker named."""
    kind = getattr(errors, name, None)
    if not (isinstance(kind, type) and issubclass(kind, NearfarError)):
        return InternalError(f"{name}: {message}", data=data)
    return kind(message, data=data)
