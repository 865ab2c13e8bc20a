"""The worker's main loop: frames in, frames out, and a round of the scheduler in between."""

import os
import queue
import sys
import threading
import time
from typing import Any

import psutil

from nearfar.errors import ModelLoadError, NearfarError
from nearfar.llm.local.protocol import (
    EngineInfo,
    EngineOptions,
    FrameReader,
    GenerationRequest,
    pack,
    write_all,
)

from .decoding import TokenText
from .guidance import Grammars
from .model import LoadedModel, as_nearfar_error, read_facts, read_tokenizer
from .providers import choose_provider
from .scheduler import Scheduler
from .session_cache import SessionCache

_QUIET_S = 0.05  # after so long without a request there is time for preparations
_ALIVE_S = 0.5  # a sign of life when there was nothing else to say


class Pipes:
    """Frames from and to the parent. When the parent is gone, so is this process."""

    def __init__(self, incoming: int, outgoing: int) -> None:
        self._incoming = FrameReader(incoming)
        self._outgoing = outgoing
        self._frames: queue.SimpleQueue[list[Any]] = queue.SimpleQueue()
        self.last_sent = time.monotonic()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        # The main thread may be inside a native call that ends much later: nothing to wait for.
        try:
            while (frame := self._incoming.read()) is not None:
                self._frames.put(frame)
        finally:
            os._exit(0)

    def receive(self, timeout: float | None) -> list[Any] | None:
        """The next frame; None if none came in time (0: look only)."""
        try:
            if timeout == 0:
                return self._frames.get_nowait()
            return self._frames.get(timeout=timeout)
        except queue.Empty:
            return None

    def send(self, frame: list[Any]) -> None:
        """To the parent."""
        try:
            write_all(self._outgoing, pack(frame))
        except OSError:
            os._exit(0)
        self.last_sent = time.monotonic()


def serve(pipes: Pipes) -> None:
    """Load what the first frame asks for, then answer requests until the parent closes the pipe."""
    frame = pipes.receive(None)
    assert frame is not None  # noqa: S101 - without a limit of time a frame came
    options, skipped = EngineOptions.from_wire(frame[1]), frame[2]
    try:
        scheduler, info = _load(options, skipped, pipes)
    except NearfarError as error:
        pipes.send(["failed", type(error).__name__, error.message, error.data])
        return
    scheduler.prepare()
    pipes.send(["ready", info])
    while True:
        _take_frames(scheduler, pipes, wait=scheduler.idle)
        scheduler.round(lambda: _between(scheduler, pipes))


def _between(scheduler: Scheduler, pipes: Pipes) -> None:
    _take_frames(scheduler, pipes, wait=False)
    if time.monotonic() - pipes.last_sent > _ALIVE_S:
        pipes.send(["alive"])


def _take_frames(scheduler: Scheduler, pipes: Pipes, *, wait: bool) -> None:
    frame = pipes.receive(_QUIET_S if wait else 0)
    if frame is None and wait:
        scheduler.prepare()
        frame = pipes.receive(None)
    while frame is not None:
        if frame[0] == "go":
            scheduler.submit(frame[1], GenerationRequest.from_wire(frame[2]))
        elif frame[0] == "cancel":
            scheduler.cancel(frame[1])
        frame = pipes.receive(0)


def _load(
    options: EngineOptions, skipped: dict[str, str], pipes: Pipes
) -> tuple[Scheduler, dict[str, Any]]:
    started = time.monotonic()
    facts = read_facts(options.model_path)
    tokenizer_json = read_tokenizer(options.model_path)
    try:
        text = TokenText(tokenizer_json, facts.end_ids)
        grammars = Grammars(tokenizer_json, text.size, facts.vocab_size, facts.end_ids)
        grammars.self_test()
    except Exception as error:
        # Both libraries raise plain Exception for whatever a tokenizer.json lacks.
        raise ModelLoadError(
            f"The model folder {facts.folder} cannot be used: tokenizer.json: {error}",
            data={"folder": str(facts.folder), "file": "tokenizer.json"},
        ) from error
    versions = _versions(facts.folder.name)
    model, passed = choose_provider(
        facts, options, skipped, lambda provider: pipes.send(["trying", provider])
    )
    scheduler = _schedule(model, text, grammars, options, pipes)
    info = EngineInfo(
        provider=model.provider,
        passed_over=tuple(passed),
        context_length=facts.context_length,
        usable_window=facts.usable_window,
        vocab_size=facts.vocab_size,
        eos_token_ids=facts.end_ids,
        versions=versions,
        load_s=time.monotonic() - started,
        pid=os.getpid(),
        rss_bytes=psutil.Process().memory_info().rss,
    )
    wire = {**info.__dict__, "passed_over": [item.__dict__ for item in passed]}
    return scheduler, wire


def _schedule(
    model: LoadedModel, text: TokenText, grammars: Grammars, options: EngineOptions, pipes: Pipes
) -> Scheduler:
    facts = model.facts
    cache = SessionCache(
        model.new_generator,
        lambda size: facts.kv_bytes(size, model.provider),
        limit_bytes=options.cache_mb * 1024 * 1024,
        portion=options.prefill_slice,
        window=facts.usable_window,
    )
    return Scheduler(
        model,
        text,
        grammars,
        cache,
        pipes.send,
        max_active=options.max_active,
        portion=options.prefill_slice,
    )


def _versions(doing: str) -> dict[str, str]:
    """Of what computes. Importing onnxruntime_genai here also tells whether it can be imported."""
    try:
        import onnxruntime_genai as og
    except Exception as error:
        raise ModelLoadError(
            f"onnxruntime-genai could not be imported to run {doing}: {error}",
            remedy="Install nearfar anew in a clean environment; `nearfar doctor` checks the wheels.",
        ) from error
    if hasattr(og, "disable_telemetry_events"):
        og.disable_telemetry_events()
    return {"python": sys.version.split()[0], "onnxruntime_genai": str(og.__version__), **_wheels()}


def _wheels() -> dict[str, str]:
    from importlib import metadata

    found = {}
    for name, wheels in {
        "onnxruntime": ("onnxruntime", "onnxruntime-directml", "onnxruntime-gpu"),
        "tokenizers": ("tokenizers",),
        "llguidance": ("llguidance",),
    }.items():
        for wheel in wheels:
            try:
                found[name] = metadata.version(wheel)
            except metadata.PackageNotFoundError:
                continue
            break
    return found


def guarded(pipes: Pipes) -> None:
    """``serve``, with what it did not expect reported to the parent before the process ends."""
    try:
        serve(pipes)
    except Exception as error:
        known = as_nearfar_error(error, "running")
        pipes.send(["failed", type(known).__name__, known.message, known.data])
        raise
