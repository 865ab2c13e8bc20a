"""What the two sides of the engine say to each other: values, and frames on a pipe.

A frame is a length (4 bytes, big endian) and a JSON array whose first item names its kind.
JSON and not pickle: nothing that comes through the pipe can run code.

    parent to worker                          worker to parent
    ["load", {options}]                       ["trying", provider]
    ["go", id, {request}]                     ["ready", {info}]  or  ["failed", class, message, data]
    ["cancel", id]                            ["begun", id]
                                              ["text", id, text, [token ids]]
                                              ["done", id, {finish}, {counters}]
                                              ["error", id, class, message, data, {counters}]
                                              ["alive"]
"""

import json
import math
import os
import struct
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from nearfar.errors import InvalidParameterError

MAX_FRAME_BYTES = 256 * 1024 * 1024
_LENGTH = struct.Struct(">I")

PROVIDERS = ("dml", "qnn", "cuda", "cpu")


@dataclass(frozen=True)
class EngineOptions:
    """How a model is run. Two equal options share one worker process."""

    model_path: Path
    execution_providers: tuple[str, ...] = PROVIDERS  # tried in this order
    max_active: int = 4  # requests that progress at once
    queue_limit: int = 64  # requests that may wait besides
    cache_mb: int = 512  # memory for the key/value states of earlier prompts; 0: keep none
    prefill_slice: int = 128  # prompt tokens between two looks at other requests and cancels
    hang_s: float = 60  # without progress for so long the worker is stopped
    load_timeout_s: float = 300  # for each provider that is tried
    memory_limit_mb: int | None = None  # resident memory at which the worker is stopped
    threads: int | None = None  # None: onnxruntime decides

    def __post_init__(self) -> None:
        _positive("max_active", self.max_active)
        _positive("prefill_slice", self.prefill_slice)
        _positive("hang_s", self.hang_s)
        _positive("load_timeout_s", self.load_timeout_s)
        _not_negative("queue_limit", self.queue_limit)
        _not_negative("cache_mb", self.cache_mb)
        for name in ("memory_limit_mb", "threads"):
            value = getattr(self, name)
            if value is not None:
                _positive(name, value)
        unknown = [p for p in self.execution_providers if p not in PROVIDERS]
        if unknown or not self.execution_providers:
            raise InvalidParameterError(
                f"execution_providers must name some of {', '.join(PROVIDERS)}, "
                f"not {list(self.execution_providers)}.",
                data={"parameter": "execution_providers", "value": list(self.execution_providers)},
            )

    def resolved(self) -> "EngineOptions":
        """With an absolute model path, so that equal folders are equal options."""
        return replace(
            self,
            model_path=Path(self.model_path).resolve(),
            execution_providers=tuple(self.execution_providers),
        )

    def to_wire(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "model_path": str(self.model_path)}

    @classmethod
    def from_wire(cls, values: dict[str, Any]) -> "EngineOptions":
        """From JSON."""
        return cls(
            **{
                **values,
                "model_path": Path(values["model_path"]),
                "execution_providers": tuple(values["execution_providers"]),
            }
        )


@dataclass(frozen=True)
class GenerationRequest:
    """One continuation of ``prompt_ids``; every value is checked when it is made."""

    prompt_ids: tuple[int, ...]
    max_tokens: int  # lowered to what the window leaves
    temperature: float = 0.0  # 0: always the likeliest token
    top_p: float = 1.0  # 1: off
    top_k: int = 0  # 0: off
    seed: int | None = None  # None: different each time
    repetition_penalty: float = 1.0  # 1: off; counts tokens of prompt and reply
    stop: tuple[str, ...] = ()  # the text ends before the first of these
    grammar: str | None = None  # Lark, as llguidance reads it
    visible_special: tuple[int, ...] = ()  # special tokens that become text; others are dropped
    goes_on: bool = False  # the prompt ends within a text, and the reply is the rest of it

    def __post_init__(self) -> None:
        if not self.prompt_ids:
            raise InvalidParameterError(
                "The prompt holds no token.", data={"parameter": "prompt_ids", "value": []}
            )
        _positive("max_tokens", self.max_tokens)
        _not_negative("temperature", self.temperature)
        _not_negative("top_k", self.top_k)
        _positive("repetition_penalty", self.repetition_penalty)
        if not 0 < self.top_p <= 1:
            raise _out_of_range("top_p", self.top_p, "above 0 and at most 1")
        if any(not text for text in self.stop):
            raise _out_of_range("stop", list(self.stop), "made of texts that are not empty")

    def to_wire(self) -> dict[str, Any]:
        """As JSON; ``asdict`` would copy a long prompt token by token."""
        return self.__dict__

    @classmethod
    def from_wire(cls, values: dict[str, Any]) -> "GenerationRequest":
        """From JSON."""
        for name in ("prompt_ids", "stop", "visible_special"):
            values[name] = tuple(values[name])
        return cls(**values)


@dataclass(frozen=True)
class TextChunk:
    """New text, and the tokens that were sampled for it.

    Over a whole stream the ``token_ids`` are all sampled tokens, also those without text (end
    tokens, dropped special tokens, what a stop string cut off). ``text`` can be empty on the last.
    """

    text: str
    token_ids: tuple[int, ...]


@dataclass(frozen=True)
class Usage:
    """``completion_tokens`` counts every sampled token, the end token too."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int  # of the prompt, taken from an earlier request's state


@dataclass(frozen=True)
class Timings:
    """Seconds. ``first_token_s`` runs from the call to the first sampled token."""

    queue_s: float  # waiting: for the worker to start, and for a place among the active
    prefill_s: float  # computing on this prompt
    first_token_s: float
    decode_s: float  # from the first token to the end


@dataclass(frozen=True)
class Finish:
    """The last item of a stream. ``length``: max_tokens or the window was reached."""

    reason: Literal["stop", "length"]
    stop_string: str | None
    usage: Usage
    timings: Timings


@dataclass(frozen=True)
class PassedOver:
    """An execution provider that is not in use, and why."""

    provider: str
    reason: str


@dataclass(frozen=True)
class EngineInfo:
    """A loaded model."""

    provider: str
    passed_over: tuple[PassedOver, ...]
    context_length: int  # what the model was made for
    usable_window: int  # prompt and reply together
    vocab_size: int
    eos_token_ids: tuple[int, ...]
    versions: dict[str, str]  # onnxruntime, onnxruntime_genai, tokenizers, llguidance
    load_s: float
    pid: int
    rss_bytes: int

    @classmethod
    def from_wire(cls, values: dict[str, Any]) -> "EngineInfo":
        """From JSON."""
        return cls(
            **{
                **values,
                "passed_over": tuple(PassedOver(**item) for item in values["passed_over"]),
                "eos_token_ids": tuple(values["eos_token_ids"]),
            }
        )


@dataclass(frozen=True)
class EngineStats:
    """Counts since the engine was made, over all its workers."""

    requests: int
    active: int
    queued: int
    cache_hits: int  # requests that reused a state
    reused_tokens: int
    generated_tokens: int  # sampled by the worker, whether or not anyone still listened
    cached_sequences: int  # states that wait for a follow-up now
    cache_bytes: int  # estimated memory of all states now
    restarts: int


def pack(frame: list[Any]) -> bytes:
    """The bytes of a frame."""
    body = json.dumps(frame, separators=(",", ":")).encode("ascii")
    return _LENGTH.pack(len(body)) + body


class FrameReader:
    """Frames from a descriptor. Unbuffered underneath: a daemon thread may sit in it at exit."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._buffer = bytearray()

    def read(self) -> list[Any] | None:
        """The next frame, or None at the end of the pipe. ValueError if the bytes are no frame."""
        while True:
            frame = self._next()
            if frame is not None:
                return frame
            data = os.read(self._fd, 256 * 1024)
            if not data:
                return None
            self._buffer += data

    def _next(self) -> list[Any] | None:
        if len(self._buffer) < _LENGTH.size:
            return None
        (size,) = _LENGTH.unpack_from(self._buffer)
        if size > MAX_FRAME_BYTES:
            raise ValueError(f"A frame of {size} bytes: the pipe is out of step.")
        end = _LENGTH.size + size
        if len(self._buffer) < end:
            return None
        frame = json.loads(self._buffer[_LENGTH.size : end])
        del self._buffer[:end]
        if not isinstance(frame, list) or not frame:
            raise ValueError("A frame that is no array: the pipe is out of step.")
        return frame


def write_all(fd: int, data: bytes) -> None:
    """Write everything to a blocking descriptor."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _out_of_range(name: str, value: object, allowed: str) -> InvalidParameterError:
    return InvalidParameterError(
        f"{name} must be {allowed}, not {value!r}.", data={"parameter": name, "value": value}
    )


def _positive(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise _out_of_range(name, value, "above 0")


def _not_negative(name: str, value: float) -> None:
    if not (math.isfinite(value) and value >= 0):
        raise _out_of_range(name, value, "0 or more")
