"""Word documents, read from two parts of the package: the text and the styles.

Only those two are unpacked, each up to a limit, by a parser that expands no entities and loads
nothing from elsewhere; pictures, macros and embedded files are never opened.
"""

import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nearfar.errors import DocumentTooLargeError, UnreadableDocumentError

from .document import HeadingPath, Kind, TextBuilder

_DOCUMENT = "word/document.xml"
_STYLES = "word/styles.xml"
_NOTES = ("word/footnotes.xml", "word/endnotes.xml")
_HEADING = re.compile(r"heading (\d)$", re.IGNORECASE)
_MAX_RATIO = 1000  # text in XML packs about 10 to 40 times; what packs better was made to harm


def docx(path: Path, data: bytes, *, max_bytes: int) -> tuple[TextBuilder, str | None]:
    """The text in reading order, and the title. ``max_bytes`` bounds each part when unpacked."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as package:
            parts = {
                name: _part(path, package, name, max_bytes)
                for name in (_DOCUMENT, _STYLES, *_NOTES)
                if name == _DOCUMENT or name in package.NameToInfo
            }
    except (zipfile.BadZipFile, zlib.error, KeyError, EOFError, OSError, RuntimeError) as error:
        # RuntimeError is what zipfile raises for a part under a password.
        raise _unreadable(path, "its package is damaged") from error
    except NotImplementedError as error:
        raise _unreadable(path, "it is packed in an unknown way") from error
    reader = _Reader(_styles(path, parts.get(_STYLES)))
    body = _child(_parse(path, parts[_DOCUMENT]), "body")
    if body is None:
        raise _unreadable(path, "it has no body")
    reader.read(body)
    for name in _NOTES:
        if name in parts:
            reader.notes(_parse(path, parts[name]))
    return reader.builder, reader.title


def _unreadable(path: Path, why: str) -> UnreadableDocumentError:
    return UnreadableDocumentError(
        f"{path} could not be read as a Word document: {why}.", data={"path": str(path)}
    )


def _part(path: Path, package: zipfile.ZipFile, name: str, max_bytes: int) -> bytes:
    info = package.getinfo(name)
    limit = min(max_bytes, max(1_000_000, info.compress_size * _MAX_RATIO))
    # The size in the directory can lie, so what comes out is counted as well.
    with package.open(info) as file:
        data = b"" if info.file_size > limit else file.read(limit + 1)
    if info.file_size > limit or len(data) > limit:
        raise DocumentTooLargeError(
            f"{path} unpacks to {info.file_size:,} bytes, over the limit of {limit:,}.",
            data={"path": str(path), "bytes": info.file_size, "limit_bytes": limit},
        )
    return data


def _parse(path: Path, data: bytes) -> Any:
    from lxml import etree  # type: ignore[import-untyped]

    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, remove_comments=True
    )
    try:
        root = etree.fromstring(data, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise _unreadable(path, "its XML is damaged") from error
    if root.getroottree().docinfo.internalDTD is not None:
        raise _unreadable(path, "it declares entities, which no word processor does")
    return root


def _name(element: Any) -> str:
    """The tag without its namespace: there are two, a transitional and a strict one."""
    tag = element.tag
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""


def _child(element: Any, *names: str) -> Any:
    """The element that a path of tags leads to, or None."""
    for name in names:
        element = next((child for child in element if _name(child) == name), None)
        if element is None:
            return None
    return element


def _value(element: Any) -> str | None:
    if element is None:
        return None
    return next((v for k, v in element.attrib.items() if k.rpartition("}")[2] == "val"), None)


def _styles(path: Path, data: bytes | None) -> dict[str, tuple[int | None, bool]]:
    """Style id to (heading level, 0 for a title; whether it is a list)."""
    styles: dict[str, tuple[int | None, bool]] = {}
    if data is None:
        return styles
    for style in _parse(path, data):
        style_id = next(
            (v for k, v in style.attrib.items() if k.rpartition("}")[2] == "styleId"), None
        )
        if _name(style) != "style" or style_id is None:
            continue
        name = (_value(_child(style, "name")) or "").lower()
        level: int | None = None
        if found := _HEADING.fullmatch(name):
            level = int(found[1])
        elif name == "title":
            level = 0
        elif (outline := _value(_child(style, "pPr", "outlineLvl"))) and outline in "012345678":
            level = int(outline) + 1
        listed = name.startswith("list ") or _child(style, "pPr", "numPr") is not None
        styles[style_id] = (level, listed and level is None)
    return styles


class _Reader:
    def __init__(self, styles: dict[str, tuple[int | None, bool]]) -> None:
        self.builder = TextBuilder()
        self.title: str | None = None
        self._styles = styles
        self._path = HeadingPath()
        self._items: list[str] = []

    def read(self, body: Any) -> None:
        """All paragraphs and tables below ``body``, also those inside content controls."""
        for element in _blocks(body):
            if _name(element) == "tbl":
                self._flush_list()
                rows = "\n".join(_rows(element))
                self.builder.add(rows, "table", headings=self._path.path)
            else:
                self._paragraph(element)
        self._flush_list()

    def notes(self, root: Any) -> None:
        """Footnotes, at the end, under no heading."""
        text = "\n".join(filter(None, (_text(p).strip() for p in root.iter() if _name(p) == "p")))
        self.builder.add(text)

    def _paragraph(self, paragraph: Any) -> None:
        text = _text(paragraph).strip()
        if not text:
            return
        style = _value(_child(paragraph, "pPr", "pStyle"))
        level, listed = self._styles.get(style or "", (None, False))
        outline = _value(_child(paragraph, "pPr", "outlineLvl"))
        if level is None and outline is not None and outline in "01234567":
            level = int(outline) + 1
        if level is not None:
            self._flush_list()
            words = " ".join(text.split())
            if self.title is None:
                self.title = words
            self.builder.add(words, "heading", headings=self._path.enter(level, words))
        elif listed or _child(paragraph, "pPr", "numPr") is not None:
            self._items.append(f"- {text}")
        else:
            self._flush_list()
            kind: Kind = "text"
            self.builder.add(text, kind, headings=self._path.path)

    def _flush_list(self) -> None:
        self.builder.add("\n".join(self._items), "list", headings=self._path.path)
        self._items.clear()


def _blocks(root: Any) -> Iterator[Any]:
    """Paragraphs and outermost tables in order; deleted text and text boxes' twins left out."""
    stack = [root]
    while stack:
        element = stack.pop()
        name = _name(element)
        if element is not root and name in {"p", "tbl"}:
            yield element
        elif name not in {"del", "moveFrom", "Fallback"}:
            stack.extend(reversed(element))


def _text(paragraph: Any) -> str:
    """The words of a paragraph as they would be printed with all changes accepted."""
    parts: list[str] = []
    stack = [paragraph]
    while stack:
        element = stack.pop()
        name = _name(element)
        if name in {"t", "noBreakHyphen", "tab", "br", "cr"}:
            fixed = {"noBreakHyphen": "-", "tab": "\t", "br": "\n", "cr": "\n"}
            parts.append(fixed.get(name) or element.text or "")
        elif name not in {"del", "moveFrom", "Fallback", "instrText", "pPr", "rPr"}:
            stack.extend(reversed(element))
            if name == "p" and element is not paragraph and parts:
                parts.append("\n")  # a paragraph of a text box
    return "".join(parts)


def _rows(table: Any) -> Iterator[str]:
    for row in table.iter():
        if _name(row) != "tr":
            continue
        cells = []
        for cell in _cells(row):
            words = (" ".join(_text(p).split()) for p in _blocks(cell) if _name(p) == "p")
            cells.append(" ".join(filter(None, words)))
        if any(cells):
            yield " | ".join(cells)


def _cells(row: Any) -> Iterator[Any]:
    """The cells of a row, also those in a content control, but not those of a table in a cell."""
    stack = list(reversed(row))
    while stack:
        element = stack.pop()
        if _name(element) == "tc":
            yield element
        elif _name(element) in {"sdt", "sdtContent"}:
            stack.extend(reversed(element))
