r"""The regular expressions of JSON Schema's ``pattern``, turned into ones over JSON text.

A pattern speaks about a string's characters; the decoder writes them as JSON, where a quote is
``\"``. So patterns are parsed and written anew, character class by character class. Everything
that cannot be forced (back references, word boundaries, lookbehind) raises PatternError.
"""

from dataclasses import dataclass
from typing import Final

from .pattern_syntax import (
    LAST,
    Ahead,
    Anchor,
    Chars,
    Either,
    Node,
    PatternError,
    PatternParser,
    Ranges,
    Repeat,
    Sequence,
    complement,
)

_ESCAPED: Final = {0x22: '"', 0x5C: "\\\\", 0x08: "b", 0x0C: "f", 0x0A: "n", 0x0D: "r", 0x09: "t"}
_MANY: Final = 1_000_000_000
_ANYTHING: Final = Repeat(Chars(((0x20, 0x21), (0x23, 0x5B), (0x5D, 0x7E), (0xA0, LAST))), 0, None)
_WHATEVER: Final = Repeat(Chars(((0, LAST),)), 0, None)


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
    return [_anchored(items, _ANYTHING) for items in _flat(PatternParser(source).parse())]


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
