"""HTML: headings, paragraphs, lists, tables and code; without scripts, styles and navigation."""

import re
from pathlib import Path
from typing import Any

from nearfar.errors import UnreadableDocumentError

from .document import HeadingPath, Kind, TextBuilder
from .encoding import Decoded, decode

_DROPPED = frozenset(
    {
        *("script", "style", "nav", "noscript", "template", "head", "dialog"),
        *("svg", "iframe", "object", "embed", "canvas", "audio", "video"),
        *("button", "select", "input", "textarea"),
    }
)
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_BLOCKS = frozenset(
    {
        *(
            "html",
            "body",
            "main",
            "article",
            "section",
            "aside",
            "header",
            "footer",
            "div",
            "center",
        ),
        *("p", "blockquote", "address", "hr", "details", "summary", "figure", "figcaption"),
        *("ul", "ol", "li", "dl", "dt", "dd", "form", "fieldset", "legend"),
        *("table", "caption", "thead", "tbody", "tfoot", "tr", "td", "th"),
    }
)
_SPACE = re.compile(r"[ \t\n\r\f\v]+")
_CHARSET = re.compile(
    rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?([A-Za-z0-9_.:-]{2,40})", re.IGNORECASE
)
_TITLE_SPACE = re.compile(r"\s+")


def decode_html(data: bytes) -> Decoded | None:
    """As ``decode``, with the charset that a meta element declares as another guess."""
    found = _CHARSET.search(data[:4096])
    return decode(data, declared=found[1].decode("ascii") if found else None)


def html(path: Path, text: str) -> tuple[TextBuilder, str | None]:
    """The text with its blocks, and the title; damaged markup is mended as browsers do."""
    from lxml import etree  # type: ignore[import-untyped]

    parser = etree.HTMLParser(encoding="utf-8", no_network=True, remove_comments=True)
    try:
        root = etree.fromstring(text.encode("utf-8", "replace"), parser)
    except (etree.XMLSyntaxError, etree.ParserError, ValueError) as error:
        raise UnreadableDocumentError(
            f"{path} could not be read as HTML: {error}.", data={"path": str(path)}
        ) from error
    if root is None:
        return TextBuilder(), None
    title = root.findtext(".//title")
    walker = _Walker()
    walker.walk(root)
    walker.flush()
    return walker.builder, (_TITLE_SPACE.sub(" ", title).strip() or None) if title else None


class _Walker:
    """Collects inline text until a block begins or ends.

    The walk keeps a list of its own instead of calling itself, so deep nesting cannot exhaust the
    interpreter's stack.
    """

    def __init__(self) -> None:
        self.builder = TextBuilder()
        self._path = HeadingPath()
        self._inline: list[str] = []
        self._kind: Kind = "text"
        self._depth = 0  # of lists
        self._verbatim = 0

    def walk(self, root: Any) -> None:
        """Visit all elements below ``root`` in document order."""
        stack: list[tuple[Any, bool]] = [(root, False)]
        while stack:
            element, leaving = stack.pop()
            if leaving:
                self._leave(element.tag)
                self._text(element.tail)
                continue
            if self._skipped(element):
                self._text(element.tail)
            elif element.tag == "table" and _is_data(element):
                self._table(element)
                self._text(element.tail)
            else:
                self._enter(element.tag)
                self._text(element.text)
                stack.append((element, True))
                stack.extend((child, False) for child in reversed(element))

    @staticmethod
    def _skipped(element: Any) -> bool:
        if not isinstance(element.tag, str) or element.tag in _DROPPED:
            return True
        return (
            "hidden" in element.attrib
            or element.get("role") == "navigation"
            or element.get("aria-hidden") == "true"
        )

    def _enter(self, tag: str) -> None:
        if tag == "br":
            self._inline.append("\n")
        elif tag == "pre":
            self.flush()
            self._verbatim += 1
        elif tag in _HEADINGS or tag in _BLOCKS:
            self.flush()
            if tag in {"ul", "ol"}:
                self._depth += 1
            elif tag == "li":
                self._inline.append("  " * max(0, self._depth - 1) + "- ")
                self._kind = "list"

    def _leave(self, tag: str) -> None:
        if tag in _HEADINGS:
            words = _SPACE.sub(" ", "".join(self._inline)).strip()
            self._inline.clear()
            headings = self._path.enter(_HEADINGS[tag], words)
            self.builder.add(words, "heading", headings=headings)
        elif tag == "pre":
            self._verbatim -= 1
            self.builder.add("".join(self._inline), "code", headings=self._path.path)
            self._inline.clear()
        elif tag in _BLOCKS:
            self.flush()
            if tag in {"ul", "ol"}:
                self._depth -= 1

    def _text(self, text: str | None) -> None:
        if text:
            self._inline.append(text if self._verbatim else _SPACE.sub(" ", text))

    def flush(self) -> None:
        """End the block that inline text was collected for."""
        rows = "".join(self._inline).split("\n")
        text = "\n".join(_SPACE.sub(" ", row).strip() for row in rows).strip()
        if text != "-":
            self.builder.add(text, self._kind, headings=self._path.path)
        self._inline.clear()
        self._kind = "text"

    def _table(self, table: Any) -> None:
        """Each row as a line, its cells between bars."""
        self.flush()
        rows = []
        for row in table.iter("tr"):
            cells = [_cell_text(cell) for cell in row if cell.tag in {"td", "th"}]
            if any(cells):
                rows.append(" | ".join(cells))
        caption = table.find("caption")
        if caption is not None:
            rows.insert(0, _cell_text(caption))
        self.builder.add("\n".join(rows), "table", headings=self._path.path)


def _is_data(table: Any) -> bool:
    """A table that holds tables, headings or code is there for the layout of a page."""
    layout = next(table.iterdescendants("table", "pre", *_HEADINGS), None)
    return layout is None and table.get("role") != "presentation"


def _cell_text(cell: Any) -> str:
    skip: set[Any] = set()
    words = []
    for event, element in _events(cell):
        if event == "start" and (element.tag in _DROPPED or element.getparent() in skip):
            skip.add(element)
        elif event == "start" and element.text:
            words.append(element.text)
        elif event == "end" and element is not cell and element.getparent() not in skip:
            space = " " if element.tag in _BLOCKS or element.tag == "br" else ""
            words.append(space + (element.tail or ""))
    return _SPACE.sub(" ", "".join(words)).strip()


def _events(root: Any) -> Any:
    from lxml import etree

    return etree.iterwalk(root, events=("start", "end"))
