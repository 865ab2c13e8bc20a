"""Markdown: headings, fenced code kept whole, tables, lists, front matter."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from .document import Block, HeadingPath, Kind

_ATX = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*$")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_SETEXT = re.compile(r" {0,3}(=+|-+)[ \t]*$")
_LIST = re.compile(r"[ \t]*(?:[-*+]|\d{1,9}[.)])[ \t]+\S")
_TITLE = re.compile(r"^title:[ \t]*(.+?)[ \t]*$", re.MULTILINE | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Line:
    start: int
    end: int  # without the line end
    text: str


def markdown(text: str) -> tuple[list[Block], str | None]:
    """The blocks, and the title: the front matter's, else the first heading."""
    rows = list(_lines(text))
    blocks: list[Block] = []
    title = None
    first = 0
    if (after := _front_matter(rows)) is not None:
        blocks.append(Block(0, rows[after - 1].end, "table"))
        if found := _TITLE.search(text, 0, rows[after - 1].end):
            title = found[1].strip("\"'")
        first = after
    blocks += _Parser(rows, first).parse()
    if title is None:
        title = next((b.headings[-1] for b in blocks if b.kind == "heading" and b.headings), None)
    return blocks, title


def _lines(text: str) -> Iterator[_Line]:
    start = 0
    for line in text.split("\n"):
        yield _Line(start, start + len(line), line)
        start += len(line) + 1


def _front_matter(rows: list[_Line]) -> int | None:
    """The number of the line after YAML front matter, if there is any."""
    if rows[0].text.rstrip() != "---":
        return None
    for number, row in enumerate(rows[1:200], 1):
        if row.text.rstrip() in {"---", "..."}:
            return number + 1
    return None


class _Parser:
    """Goes through the lines once; a paragraph is kept open until something ends it."""

    def __init__(self, rows: list[_Line], first: int) -> None:
        self._rows = rows
        self._at = first
        self._path = HeadingPath()
        self._blocks: list[Block] = []
        self._open: tuple[int, Kind] | None = None  # line number and kind of the open block

    def parse(self) -> list[Block]:
        while self._at < len(self._rows):
            self._step(self._rows[self._at])
            self._at += 1
        self._close(len(self._rows))
        return self._blocks

    def _step(self, row: _Line) -> None:
        if not row.text.strip():
            self._close(self._at)
        elif fence := _FENCE.match(row.text):
            self._fenced(fence[1])
        elif atx := _ATX.match(row.text):
            self._close(self._at)
            self._heading(self._at, len(atx[1]), atx[2] or "")
        elif self._open is not None and self._open[1] == "text" and _SETEXT.match(row.text):
            self._setext(1 if row.text.lstrip()[0] == "=" else 2)
        else:
            self._content(row)

    def _content(self, row: _Line) -> None:
        kind: Kind = "text"
        if row.text.lstrip().startswith("|"):
            kind = "table"
        elif _LIST.match(row.text):
            kind = "list"
        if self._open is None:
            self._open = (self._at, kind)
        elif self._open[1] != kind and kind != "text":
            self._close(self._at)
            self._open = (self._at, kind)

    def _close(self, end: int) -> None:
        if self._open is not None:
            first, kind = self._open
            self._emit(first, end, kind)
            self._open = None

    def _emit(self, first: int, end: int, kind: Kind) -> None:
        start, stop = self._rows[first].start, self._rows[end - 1].end
        self._blocks.append(Block(start, stop, kind, None, self._path.path))

    def _heading(self, first: int, level: int, title: str) -> None:
        self._path.enter(level, title)
        self._emit(first, self._at + 1, "heading")

    def _setext(self, level: int) -> None:
        assert self._open is not None  # noqa: S101 - the caller looked
        first = self._open[0]
        self._open = None
        title = " ".join(row.text.strip() for row in self._rows[first : self._at])
        self._heading(first, level, title)

    def _fenced(self, fence: str) -> None:
        """Everything up to the closing fence, or to the end of the file."""
        self._close(self._at)
        first = self._at
        closing = re.compile(rf" {{0,3}}{re.escape(fence[0])}{{{len(fence)},}}[ \t]*$")
        while self._at + 1 < len(self._rows):
            self._at += 1
            if closing.match(self._rows[self._at].text):
                break
        self._emit(first, self._at + 1, "code")
