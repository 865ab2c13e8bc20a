r"""The regular expressions of JSON Schema's ``pattern``, turned into ones over JSON text.

A pattern speaks about a string's characters; the decoder writes them as JSON, where a quote is
``\"``. So patterns are parsed and written anew, character class by character class. Everything
that cannot be forced (back references, word boundaries, lookbehind) raises PatternError.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NoReturn

Ranges = tuple[tuple[int, int], ...]

_LAST: Final = 0x10FFFF
_DIGIT: Final[Ranges] = ((0x30, 0x39),)
_WORD: Final[Ranges] = ((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A))
_BLANK: Final[Ranges] = ((0x09, 0x0D), (0x20, 0x20))
_LINE_ENDS: Final[Ranges] = ((0x0A, 0x0A), (0x0D, 0x0D), (0x2028, 0x2029))
# The negated shorthands stay within ASCII: dialects disagree about all other characters.
_SHORTHANDS: Final[dict[str, Ranges]] = {
    "d": _DIGIT,
    "w": _WORD,
    "s": _BLANK,
    "D": ((0x00, 0x2F), (0x3A, 0x7E)),
    "W": ((0x00, 0x2F), (0x3A, 0x40), (0x5B, 0x5E), (0x60, 0x60), (0x7B, 0x7E)),
    "S": ((0x21, 0x7E),),
}
_CONTROLS: Final = {"n": 0x0A, "r": 0x0D, "t": 0x09, "f": 0x0C, "v": 0x0B, "0": 0x00}
_ESCAPED: Final = {0x22: '"', 0x5C: "\\\\", 0x08: "b", 0x0C: "f", 0x0A: "n", 0x0D: "r", 0x09: "t"}
_MANY: Final = 1_000_000_000
_MAX_REPEAT: Final = 4096


class PatternError(ValueError):
    """The pattern is malformed, or holds what a grammar cannot force."""


@dataclass(frozen=True)
class Chars:
    ranges: Ranges


@dataclass(frozen=True)
class Sequence:
    items: "tuple[Node, ...]"


@dataclass(frozen=True)
class Either:
    items: "tuple[Node, ...]"


@dataclass(frozen=True)
class Repeat:
    item: "Node"
    low: int
    high: int | None


@dataclass(frozen=True)
class Anchor:
    start: bool


@dataclass(frozen=True)
class Ahead:
    item: "Node"
    negative: bool


Node = Chars | Sequence | Either | Repeat | Anchor | Ahead
_ANYTHING: Final = Repeat(Chars(((0x20, 0x21), (0x23, 0x5B), (0x5D, 0x7E), (0xA0, _LAST))), 0, None)
_WHATEVER: Final = Repeat(Chars(((0, _LAST),)), 0, None)


def normalised(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """Sorted ranges that neither touch nor overlap."""
    merged: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return tuple(merged)


def complement(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """All characters outside of the ranges."""
    result, start = [], 0
    for low, high in normalised(ranges):
        if low > start:
            result.append((start, low - 1))
        start = high + 1
    if start <= _LAST:
        result.append((start, _LAST))
    return tuple(result)


class _Parser:
    def __init__(self, source: str) -> None:
        self._source = source
        self._at = 0

    def parse(self) -> Node:
        node = self._either()
        if self._at < len(self._source):
            self._fail("unbalanced )")
        return node

    def _fail(self, why: str) -> NoReturn:
        raise PatternError(why)

    def _peek(self, text: str) -> bool:
        return self._source.startswith(text, self._at)

    def _accept(self, text: str) -> bool:
        found = self._peek(text)
        if found:
            self._at += len(text)
        return found

    def _next(self) -> str:
        if self._at >= len(self._source):
            self._fail("the pattern ends too early")
        self._at += 1
        return self._source[self._at - 1]

    def _either(self) -> Node:
        branches = [self._sequence()]
        while self._accept("|"):
            branches.append(self._sequence())
        return branches[0] if len(branches) == 1 else Either(tuple(branches))

    def _sequence(self) -> Node:
        items: list[Node] = []
        while self._at < len(self._source) and self._source[self._at] not in "|)":
            items.append(self._repeat(self._atom()))
        return items[0] if len(items) == 1 else Sequence(tuple(items))

    def _repeat(self, atom: Node) -> Node:
        while True:
            bounds = self._bounds()
            if bounds is None:
                return atom
            if isinstance(atom, Anchor | Ahead):
                self._fail("a repeated assertion")
            if bounds[0] > _MAX_REPEAT or (bounds[1] or 0) > _MAX_REPEAT:
                self._fail(f"a repetition of more than {_MAX_REPEAT}")
            self._accept("?")  # a lazy quantifier: the same strings
            if self._peek("+"):
                self._fail("a possessive quantifier")
            atom = Repeat(atom, *bounds)

    def _bounds(self) -> tuple[int, int | None] | None:
        for mark, bounds in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self._accept(mark):
                return bounds
        if not self._peek("{"):
            return None
        body, brace, _ = self._source[self._at + 1 :].partition("}")
        low, comma, high = body.partition(",")
        if not brace or not low.isdecimal() or not (high.isdecimal() or not high):
            return None  # a plain brace
        self._at += len(body) + 2
        last = int(low) if not comma else int(high) if high else None
        if last is not None and last < int(low):
            self._fail("a repetition with its bounds reversed")
        return int(low), last

    def _atom(self) -> Node:
        char = self._next()
        if char == "(":
            return self._group()
        if char == "[":
            return Chars(self._class())
        if char == ".":
            return Chars(complement(_LINE_ENDS))
        if char in "^$":
            return Anchor(start=char == "^")
        if char == "\\":
            return self._escape()
        if char in "*+?":
            self._fail("nothing to repeat")
        return Chars(((ord(char), ord(char)),))

    def _group(self) -> Node:
        if self._accept("?="):
            node: Node = Ahead(self._either(), negative=False)
        elif self._accept("?!"):
            node = Ahead(self._either(), negative=True)
        else:
            if self._accept("?P<") or (self._peek("?<") and self._source[self._at + 2] not in "=!"):
                self._at = self._source.find(">", self._at) + 1 or len(self._source)
            elif self._peek("?") and not self._accept("?:"):
                self._fail(f"the group ({self._source[self._at : self._at + 3]}...)")
            node = self._either()
        if not self._accept(")"):
            self._fail("a missing )")
        return node

    def _escape(self) -> Node:
        char = self._source[self._at : self._at + 1]
        if char in ("A", "Z", "z"):
            self._at += 1
            return Anchor(start=char == "A")
        if char and char in "bBkGpPXR123456789":
            self._fail(f"\\{char}")
        return Chars(self._escaped())

    def _escaped(self) -> Ranges:
        """The characters of an escape; the backslash has been read."""
        char = self._next()
        if char in _SHORTHANDS:
            return _SHORTHANDS[char]
        if char in _CONTROLS:
            code = _CONTROLS[char]
        elif char in "xu":
            code = self._hex(2 if char == "x" else 4)
        elif char == "c" or (char.isascii() and char.isalnum()):
            self._fail(f"\\{char}")
        else:
            code = ord(char)
        return ((code, code),)

    def _hex(self, size: int) -> int:
        if self._accept("{"):
            digits, _, _ = self._source[self._at :].partition("}")
            self._at += len(digits) + 1
        else:
            digits = self._source[self._at : self._at + size]
            self._at += size
        try:
            return int(digits, 16)
        except ValueError:
            raise PatternError("a malformed \\x or \\u") from None

    def _class(self) -> Ranges:
        negated = self._accept("^")
        ranges: list[tuple[int, int]] = []
        first, start = True, self._at
        while first or not self._accept("]"):
            first = False
            low = self._class_item()
            if (
                self._peek("-")
                and not self._peek("-]")
                and len(low) == 1
                and low[0][0] == low[0][1]
            ):
                self._at += 1
                high = self._class_item()
                if len(high) != 1 or high[0][0] != high[0][1] or high[0][0] < low[0][0]:
                    self._fail("a malformed range in [...]")
                low = ((low[0][0], high[0][0]),)
            ranges += low
        if not negated:
            return normalised(ranges)
        body = self._source[start : self._at]
        if any(f"\\{shorthand}" in body for shorthand in _SHORTHANDS):
            # Whether a shorthand takes in other scripts differs: here it does, so that
            # what is left is right either way.
            ranges += ((0x1C, 0x1F), (0x80, _LAST))
        return complement(ranges)

    def _class_item(self) -> Ranges:
        char = self._next()
        if char == "[" and self._peek(":"):
            self._fail("[:class:]")
        if char != "\\":
            return ((ord(char), ord(char)),)
        if self._accept("b"):
            return ((0x08, 0x08),)
        if self._peek("p") or self._peek("P"):
            self._fail("\\p")
        return self._escaped()


@dataclass(frozen=True)
class Branch:
    """One alternative of a pattern.

    Its strings match ``node`` from end to end, and also all of ``positive``, none of ``negative``.
    """

    node: Node
    positive: tuple[Node, ...] = ()
    negative: tuple[Node, ...] = ()

    @property
    def shortest(self) -> int:
        """Characters of the shortest string, as far as ``node`` tells."""
        return _size(self.node)[0]

    @property
    def longest(self) -> int | None:
        """Characters of the longest string, as far as ``node`` tells; None if there is no end."""
        longest = _size(self.node)[1]
        return None if longest >= _MANY else longest


def parse(source: str) -> list[Branch]:
    """The alternatives of a pattern, which is searched for in the string, not matched whole."""
    return [_anchored(items, _ANYTHING) for items in _flat(_Parser(source).parse())]


def _flat(node: Node) -> list[list[Node]]:
    """The top-level alternatives, each as a list of items; groups around all of it dissolve."""
    if isinstance(node, Either):
        return [items for branch in node.items for items in _flat(branch)]
    if not isinstance(node, Sequence):
        return [[node]]
    wrapped = [i for i in node.items if isinstance(i, Either | Sequence) and _has_anchor(i)]
    if not wrapped:
        return [list(node.items)]
    at = node.items.index(wrapped[0])
    before, after = node.items[:at], node.items[at + 1 :]
    return [
        items
        for middle in _flat(wrapped[0])
        for items in _flat(Sequence((*before, *middle, *after)))
    ]


def _anchored(items: list[Node], rest: Node) -> Branch:
    started = ended = False
    looks: list[Ahead] = []
    while items and isinstance(head := items[0], Anchor | Ahead):
        if isinstance(head, Ahead):
            looks.append(head)
        elif not head.start:
            break
        else:
            started = True
        items.pop(0)
    while items and isinstance(last := items[-1], Anchor) and not last.start:
        items.pop()
        ended = True
    if looks and not started:
        raise PatternError("a lookahead without ^ before it")
    if any(_has_anchor(item) for item in items):
        raise PatternError("an anchor or a lookahead in the middle")
    whole = [*([] if started else [rest]), *items, *([] if ended else [rest])]
    return Branch(
        Sequence(tuple(whole)),
        tuple(_looked_at(look) for look in looks if not look.negative),
        tuple(_looked_at(look) for look in looks if look.negative),
    )


def _looked_at(look: Ahead) -> Node:
    """What a lookahead at the start says about the whole string."""
    found = []
    for items in _flat(look.item):
        branch = _anchored([Anchor(start=True), *items], _WHATEVER)
        if branch.positive or branch.negative:
            raise PatternError("a lookahead within a lookahead")
        found.append(branch.node)
    return Either(tuple(found))


def _has_anchor(node: Node) -> bool:
    match node:
        case Anchor() | Ahead():
            return True
        case Sequence() | Either():
            return any(_has_anchor(item) for item in node.items)
        case Repeat():
            return _has_anchor(node.item)
    return False


def _size(node: Node) -> tuple[int, int]:
    match node:
        case Chars():
            return 1, 1
        case Sequence():
            sizes = [_size(item) for item in node.items]
            return sum(s[0] for s in sizes), min(_MANY, sum(s[1] for s in sizes))
        case Either():
            sizes = [_size(item) for item in node.items]
            return min(s[0] for s in sizes), max(s[1] for s in sizes)
        case Repeat():
            low, high = _size(node.item)
            most = _MANY if node.high is None and high else high * (node.high or 0)
            return low * node.low, min(_MANY, most)
    return 0, 0


def to_regex(node: Node) -> str:
    """The regular expression over JSON text, without the quotes around it."""
    match node:
        case Chars():
            return _class_regex(node.ranges)
        case Sequence():
            return "".join(to_regex(item) for item in node.items)
        case Either():
            return "(?:" + "|".join(to_regex(item) for item in node.items) + ")"
        case Repeat():
            high = "" if node.high is None else str(node.high)
            return f"(?:{to_regex(node.item)}){{{node.low},{high}}}"
    raise PatternError("an anchor in the middle")


def _class_regex(ranges: Ranges) -> str:
    raw: list[str] = []
    for low, high in _without_special(ranges):
        raw.append(_code(low) if low == high else f"{_code(low)}-{_code(high)}")
    escapes = [e for code, e in _ESCAPED.items() if any(a <= code <= b for a, b in ranges)]
    parts = [f"[{''.join(raw)}]"] if raw else []
    if escapes:
        parts.append(f"\\\\[{''.join(escapes)}]")
    if not parts:
        raise PatternError("a class of characters that JSON text cannot hold")
    return parts[0] if len(parts) == 1 else f"(?:{'|'.join(parts)})"


def _without_special(ranges: Ranges) -> Ranges:
    """What stands in JSON text as itself: no quote, backslash, control or surrogate."""
    special = ((0x00, 0x1F), (0x22, 0x22), (0x5C, 0x5C), (0x7F, 0x7F), (0xD800, 0xDFFF))
    return complement((*complement(ranges), *special))


def _code(code: int) -> str:
    return chr(code) if chr(code).isascii() and chr(code).isalnum() else f"\\x{{{code:x}}}"
