"""One JSON object, read a character at a time: is it a tool call, and where are its arguments?"""

import json
import re
from typing import Any, Final

SPACE: Final = " \t\r\n"
_HEADER: Final = re.compile(
    r'\{\s*"name"\s*:\s*"(?P<name>(?:[^"\\]|\\.)*)"\s*,\s*"(?:arguments|parameters)"\s*:\s*\{',
    re.DOTALL,
)
_FIRST_KEY: Final = re.compile(r'\{\s*"((?:[^"\\]|\\.)*)"', re.DOTALL)
_CALL_KEYS: Final = frozenset({"name", "arguments", "parameters", "type", "function", "id"})


class ObjectScan:
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
        if last in SPACE:
            return False
        key = _FIRST_KEY.match(self.raw)
        return key is None or (last == '"' and key[1] not in _CALL_KEYS)


def call_of(raw: str) -> tuple[str, str] | None:
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
