"""What a reader hands back: the text of a document, and where each stretch of it stands."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Kind = Literal["text", "heading", "list", "table", "code"]
Format = Literal["pdf", "docx", "html", "markdown", "rst", "text", "python", "code", "lines"]


@dataclass(frozen=True, slots=True)
class Block:
    """A stretch of the text that a splitter should keep together if it can.

    ``start`` and ``end`` count characters of ``DocumentText.text``; ``page`` counts from 1;
    ``headings`` are the headings above it, outermost first (a heading block contains itself).
    """

    start: int
    end: int
    kind: Kind = "text"
    page: int | None = None
    headings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DocumentText:
    """The extracted text. Blocks are in order, do not overlap, and are never blank."""

    path: Path
    format: Format
    text: str
    blocks: tuple[Block, ...]
    title: str | None = None
    pages: int | None = None
    warnings: tuple[str, ...] = ()

    def to_wire(self) -> dict[str, Any]:
        """JSON values, for the way out of a reader process."""
        return {
            "path": str(self.path),
            "format": self.format,
            "text": self.text,
            "blocks": [[b.start, b.end, b.kind, b.page, list(b.headings)] for b in self.blocks],
            "title": self.title,
            "pages": self.pages,
            "warnings": list(self.warnings),
        }

    @classmethod
    def from_wire(cls, data: dict[str, Any]) -> "DocumentText":
        """The opposite of ``to_wire``."""
        blocks = tuple(
            Block(start, end, kind, page, tuple(headings))
            for start, end, kind, page, headings in data["blocks"]
        )
        return cls(
            path=Path(data["path"]),
            format=data["format"],
            text=data["text"],
            blocks=blocks,
            title=data["title"],
            pages=data["pages"],
            warnings=tuple(data["warnings"]),
        )


class HeadingPath:
    """The headings that hold at the place a reader has come to."""

    def __init__(self) -> None:
        self._open: list[tuple[int, str]] = []

    def enter(self, level: int, title: str) -> tuple[str, ...]:
        """A heading of this level begins: those of its own and deeper levels end."""
        while self._open and self._open[-1][0] >= level:
            self._open.pop()
        title = " ".join(title.split())
        if title:
            self._open.append((level, title))
        return self.path

    @property
    def path(self) -> tuple[str, ...]:
        """Outermost first."""
        return tuple(title for _, title in self._open)


class TextBuilder:
    """Puts the text of a format that is not text itself together, one block after another."""

    SEPARATOR = "\n\n"

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._length = 0
        self.blocks: list[Block] = []

    def add(
        self,
        text: str,
        kind: Kind = "text",
        *,
        page: int | None = None,
        headings: tuple[str, ...] = (),
    ) -> None:
        """Append a block; blank text adds nothing."""
        text = text.strip("\n") if kind == "code" else text.strip()
        if not text.strip():
            return
        if self._parts:
            self._parts.append(self.SEPARATOR)
            self._length += len(self.SEPARATOR)
        start = self._length
        self._parts.append(text)
        self._length += len(text)
        self.blocks.append(Block(start, self._length, kind, page, headings))

    @property
    def text(self) -> str:
        """All blocks so far, a blank line between two."""
        return "".join(self._parts)


def trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """The span without white space at its ends; ``start == end`` where nothing is left."""
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end


def tidy_blocks(text: str, blocks: Iterable[Block]) -> tuple[Block, ...]:
    """Blocks without blank lines at their ends, and without those that are blank."""
    tidy = []
    for block in blocks:
        start, end = block.start, block.end
        while end > start and text[end - 1].isspace():
            end -= 1
        # The indentation of a first line belongs to a code block; blank lines above it do not.
        first = start
        while first < end and text[first].isspace():
            first += 1
        if block.kind == "code":
            line = text.rfind("\n", start, first) + 1
            first = max(start, line)
        if first < end:
            tidy.append(Block(first, end, block.kind, block.page, block.headings))
    return tuple(tidy)
