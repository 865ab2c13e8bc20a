"""Tool calls out of generated text, while it streams and afterwards.

One scanner reads every dialect: an opener (or, in bare dialects, a ``{`` at the start of the
output), one JSON object or a list of them, and a closer. It is lenient, because without a grammar
a model may leave out closers, put keys in another order or stop in the middle. Splitting the text
into other pieces never changes what the events add up to.
"""

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True)
class CallSyntax:
    """What marks a call in generated text."""

    openers: tuple[str, ...]
    closer: str = ""
    bare: bool = False  # a JSON object at the start of the output is a call


@dataclass(frozen=True)
class TextDelta:
    """Text for the reader; never a part of a marker."""

    text: str


@dataclass(frozen=True)
class CallStart:
    """A call begins. ``name`` is None when the output never gave one (an invalid call)."""

    index: int
    id: str
    name: str | None


@dataclass(frozen=True)
class CallArgsDelta:
    """The next piece of a call's arguments, as JSON text."""

    index: int
    text: str


@dataclass(frozen=True)
class CallEnd:
    """A call is over; ``error`` says what is wrong with it, where something is."""

    index: int
    error: str | None = None


Event = TextDelta | CallStart | CallArgsDelta | CallEnd


@dataclass(frozen=True)
class ToolCall:
    """A call whose arguments are a JSON object."""

    name: str
    args: dict[str, Any]
    id: str


@dataclass(frozen=True)
class InvalidToolCall:
    """A call that cannot be made; ``args`` is the text as it came."""

    name: str | None
    args: str
    id: str
    error: str


@dataclass(frozen=True)
class ParsedOutput:
    """A whole output: what stands outside of calls, and the calls in their order."""

    text: str
    calls: tuple[ToolCall, ...] = ()
    invalid_calls: tuple[InvalidToolCall, ...] = ()


_HEADER: Final = re.compile(
    r'\{\s*"name"\s*:\s*"(?P<name>(?:[^"\\]|\\.)*)"\s*,\s*"(?:arguments|parameters)"\s*:\s*\{',
    re.DOTALL,
)
_FIRST_KEY: Final = re.compile(r'\{\s*"((?:[^"\\]|\\.)*)"', re.DOTALL)
_CALL_KEYS: Final = frozenset({"name", "arguments", "parameters", "type", "function", "id"})
_SPACE: Final = " \t\r\n"


class StreamParser:
    """Takes generated text piece by piece, and gives what is certain so far."""

    def __init__(self, syntax: CallSyntax, *, new_id: Callable[[], str]) -> None:
        self._syntax = syntax
        self._new_id = new_id
        self._state: Callable[[], bool] = self._begin
        self._buffer = ""
        self._events: list[Event] = []
        self._index = 0
        self._in_list = False
        self._tentative = False  # a bare object that may still turn out to be text
        self._scan = _ObjectScan()

    def feed(self, text: str) -> list[Event]:
        """The events that ``text`` makes certain; what may still become a marker is held back."""
        self._buffer += text
        while self._state():
            pass
        return self._take()

    def close(self) -> list[Event]:
        """The last events: what was held back, and the end of a call that was cut off."""
        if self._state == self._object:
            self._cut_off()
        elif self._state in (self._body, self._raw):
            self._invalid(self._buffer, "the call holds no JSON object")
        elif self._state in (self._begin, self._text) and self._buffer:
            self._events.append(TextDelta(self._buffer))
        elif self._state == self._after and self._buffer.strip(_SPACE):
            self._events.append(TextDelta(self._buffer.lstrip(_SPACE)))
        self._buffer = ""
        self._state = self._after
        return self._take()

    def _take(self) -> list[Event]:
        events, self._events = self._events, []
        return events

    # Outside of calls. Each state returns whether it got on, so that the next may go on.

    def _begin(self) -> bool:
        """Nothing yet: leading space belongs to the text, and is dropped before a call."""
        start = len(self._buffer) - len(self._buffer.lstrip(_SPACE))
        return self._open(start)

    def _after(self) -> bool:
        """After a call: space between calls is dropped."""
        self._buffer = self._buffer.lstrip(_SPACE)
        return self._open(0)

    def _open(self, start: int) -> bool:
        rest = self._buffer[start:]
        if not rest:
            return False
        if self._syntax.bare and rest[0] == "{":
            self._tentative = True
            self._scan = _ObjectScan(prefix=self._buffer[:start])
            self._buffer = rest
            self._state = self._object
            return True
        for opener in self._syntax.openers:
            if rest.startswith(opener):
                self._enter(rest[len(opener) :])
                return True
        if any(opener.startswith(rest) for opener in self._syntax.openers):
            return False
        self._state = self._text
        return True

    def _enter(self, rest: str) -> None:
        self._buffer = rest
        self._tentative = False
        self._in_list = False
        self._state = self._body

    def _text(self) -> bool:
        found = [
            (at, opener)
            for opener in self._syntax.openers
            if (at := self._buffer.find(opener)) >= 0
        ]
        if found:
            at, opener = min(found)
            if at:
                self._events.append(TextDelta(self._buffer[:at]))
            self._enter(self._buffer[at + len(opener) :])
            return True
        held = max((_overlap(self._buffer, opener) for opener in self._syntax.openers), default=0)
        certain = len(self._buffer) - held
        if certain:
            self._events.append(TextDelta(self._buffer[:certain]))
            self._buffer = self._buffer[certain:]
        return False

    # Inside of a call.

    def _body(self) -> bool:
        self._buffer = self._buffer.lstrip(_SPACE)
        if not self._buffer:
            return False
        head = self._buffer[0]
        if head == "{":
            self._scan = _ObjectScan()
            self._state = self._object
        elif head == "[" and not self._in_list:
            self._in_list = True
            self._buffer = self._buffer[1:]
        elif self._in_list and head == "]":
            self._buffer = self._buffer[1:]
            self._state = self._tail
        else:
            self._state = self._raw
        return True

    def _object(self) -> bool:
        scan, closer = self._scan, self._syntax.closer
        for position, char in enumerate(self._buffer):
            if closer and not scan.in_string and char == closer[0]:
                rest = self._buffer[position : position + len(closer)]
                if rest == closer:
                    self._buffer = self._buffer[position:]
                    self._finish()
                    return True
                if closer.startswith(rest):
                    self._buffer = self._buffer[position:]
                    self._stream_args()
                    return False
            scan.take(char)
            if not scan.depth or (self._tentative and scan.is_no_call()):
                self._buffer = self._buffer[position + 1 :]
                self._finish()
                return True
        self._buffer = ""
        self._stream_args()
        return False

    def _stream_args(self) -> None:
        scan = self._scan
        if scan.name is None:
            return
        if not scan.announced:
            scan.announced = True
            self._events.append(CallStart(self._index, self._new_id(), scan.name))
        if piece := scan.new_args():
            self._events.append(CallArgsDelta(self._index, piece))

    def _finish(self) -> None:
        """The object is over (or cut short by the closer, or seen to be no call)."""
        scan = self._scan
        self._state = self._after if self._tentative else self._tail
        if scan.name is not None:
            self._stream_args()
            self._events.append(CallEnd(self._index))
            self._index += 1
            return
        call = None if scan.depth else _call_of(scan.raw)
        if call is not None:
            name, args = call
            self._events += [
                CallStart(self._index, self._new_id(), name),
                CallArgsDelta(self._index, args),
                CallEnd(self._index),
            ]
            self._index += 1
        elif self._tentative:
            self._buffer = scan.prefix + scan.raw + self._buffer
            self._state = self._text
        else:
            self._invalid(scan.raw, "not a tool call in JSON")

    def _cut_off(self) -> None:
        scan = self._scan
        for char in self._buffer:  # the held beginning of a closer
            scan.take(char)
        if scan.name is not None:
            self._stream_args()
            complete = scan.args_end is not None
            self._events.append(
                CallEnd(self._index, None if complete else "the output ends in the call")
            )
        elif self._tentative:
            self._events.append(TextDelta(scan.prefix + scan.raw))
        else:
            self._invalid(scan.raw, "the output ends in the call")

    def _invalid(self, raw: str, error: str) -> None:
        self._events += [
            CallStart(self._index, self._new_id(), None),
            CallArgsDelta(self._index, raw),
            CallEnd(self._index, error),
        ]
        self._index += 1

    def _raw(self) -> bool:
        """No JSON where a call should be: all up to the closer is one invalid call."""
        closer = self._syntax.closer
        end = self._buffer.find(closer) if closer else -1
        if end < 0:
            return False
        self._invalid(self._buffer[:end], "the call holds no JSON object")
        self._buffer = self._buffer[end + len(closer) :]
        self._state = self._after
        return True

    def _tail(self) -> bool:
        """After an object: a further one, the end of the list, or the closer (may be missing)."""
        self._buffer = self._buffer.lstrip(_SPACE)
        closer = self._syntax.closer
        if not self._buffer:
            return False
        if self._in_list and self._buffer[0] in ",]":
            self._in_list = self._buffer[0] == ","
            self._buffer = self._buffer[1:]
            self._state = self._body if self._in_list else self._tail
        elif self._buffer[0] == "{":
            self._state = self._body
        elif closer and self._buffer.startswith(closer):
            self._buffer = self._buffer[len(closer) :]
            self._state = self._after
        elif closer and closer.startswith(self._buffer):
            return False
        else:
            self._state = self._after
        return True


class _ObjectScan:
    """One JSON object, read a character at a time."""

    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix  # space before a bare object, needed if it turns out to be text
        self._chars: list[str] = []
        self.depth = 0
        self.in_string = False
        self.name: str | None = None
        self.announced = False
        self.args_end: int | None = None
        self._escaped = False
        self._sent = 0

    @property
    def raw(self) -> str:
        return "".join(self._chars)

    def take(self, char: str) -> None:
        self._chars.append(char)
        if self.in_string:
            if self._escaped:
                self._escaped = False
            elif char == "\\":
                self._escaped = True
            elif char == '"':
                self.in_string = False
        elif char == '"':
            self.in_string = True
        elif char in "{[":
            self.depth += 1
            if self.depth == 2 and char == "{" and self.name is None:
                self._read_header()
        elif char in "}]":
            self.depth -= 1
            if self.depth == 1 and self.name is not None and self.args_end is None:
                self.args_end = len(self._chars)

    def _read_header(self) -> None:
        header = _HEADER.fullmatch(self.raw)
        if header is None:
            return
        try:
            self.name = json.loads(f'"{header["name"]}"', strict=False)
        except ValueError:
            return
        self._sent = len(self._chars) - 1

    def new_args(self) -> str:
        """The argument text that has not been handed out yet."""
        end = len(self._chars) if self.args_end is None else self.args_end
        piece = "".join(self._chars[self._sent : end])
        self._sent = max(self._sent, end)
        return piece

    def is_no_call(self) -> bool:
        """Whether a bare object already shows that it is not a call."""
        if self.name is not None or self.depth != 1 or self.in_string or len(self._chars) < 2:
            return False
        last = self._chars[-1]
        if last in _SPACE:
            return False
        key = _FIRST_KEY.match(self.raw)
        return key is None or (last == '"' and key[1] not in _CALL_KEYS)


def _call_of(raw: str) -> tuple[str, str] | None:
    """Name and argument text of a complete object in any order of keys, or None."""
    try:
        found = json.loads(raw, strict=False)
    except (ValueError, RecursionError):
        return None
    if isinstance(found, dict) and isinstance(found.get("function"), dict):
        found = found["function"]
    if not isinstance(found, dict) or not isinstance(found.get("name"), str):
        return None
    args: Any = found.get("arguments", found.get("parameters"))
    if isinstance(args, str):  # some models write the arguments as JSON in a string
        try:
            args = json.loads(args, strict=False)
        except (ValueError, RecursionError):
            return None
    if args is None and not found.keys() <= _CALL_KEYS:
        return None
    if not isinstance(args, dict | None):
        return None
    return found["name"], json.dumps(args or {}, ensure_ascii=False)


def _overlap(text: str, marker: str) -> int:
    """Length of the longest proper beginning of ``marker`` that ``text`` ends with."""
    for size in range(min(len(text), len(marker) - 1), 0, -1):
        if text.endswith(marker[:size]):
            return size
    return 0


def fold(events: Iterable[Event]) -> ParsedOutput:
    """What a stream's events add up to."""
    text: list[str] = []
    starts: dict[int, CallStart] = {}
    args: dict[int, list[str]] = {}
    errors: dict[int, str | None] = {}
    for event in events:
        match event:
            case TextDelta():
                text.append(event.text)
            case CallStart():
                starts[event.index] = event
            case CallArgsDelta():
                args.setdefault(event.index, []).append(event.text)
            case CallEnd():
                errors[event.index] = event.error
    calls: list[ToolCall] = []
    invalid: list[InvalidToolCall] = []
    for index, start in starts.items():
        call = _judge(start, "".join(args.get(index, ())), errors.get(index))
        if isinstance(call, ToolCall):
            calls.append(call)
        else:
            invalid.append(call)
    return ParsedOutput("".join(text), tuple(calls), tuple(invalid))


def _judge(start: CallStart, args: str, error: str | None) -> ToolCall | InvalidToolCall:
    if error is None and start.name is not None:
        try:
            value = json.loads(args, strict=False)
        except (ValueError, RecursionError) as problem:
            error = f"the arguments are not JSON: {problem}"
        else:
            if isinstance(value, dict):
                return ToolCall(start.name, value, start.id)
            error = "the arguments are not a JSON object"
    return InvalidToolCall(start.name, args, start.id, error or "the call has no name")
