"""Which reader a file goes to: its suffix says what it should be, its content what it is."""

from pathlib import Path
from typing import Literal, NoReturn

from nearfar.errors import EncryptedDocumentError, UnreadableDocumentError, UnsupportedFormatError

from .document import Format

_SUFFIXES: dict[Format, str] = {
    "pdf": ".pdf",
    "docx": ".docx .docm",
    "html": ".html .htm .xhtml",
    "markdown": ".md .markdown .mdx .qmd",
    "rst": ".rst",
    "text": ".txt .text .adoc .asciidoc .org .tex",
    "python": ".py .pyi",
    "code": (
        ".js .mjs .cjs .jsx .ts .tsx .java .kt .kts .scala .groovy .c .h .cc .cpp .cxx .hpp .hh"
        " .cs .go .rs .swift .m .mm .rb .php .pl .pm .lua .r .jl .dart .ex .exs .erl .hs .ml .clj"
        " .sh .bash .zsh .fish .ps1 .bat .sql .proto .graphql .tf .css .scss .less .vue .svelte"
    ),
    "lines": ".csv .tsv .json .jsonl .ndjson .yaml .yml .toml .ini .cfg .conf .log .xml .env",
}
BY_SUFFIX: dict[str, Format] = {
    suffix: name for name, suffixes in _SUFFIXES.items() for suffix in suffixes.split()
}
BY_NAME: dict[str, Format] = {
    **dict.fromkeys(
        ("readme", "license", "licence", "copying", "notice", "authors", "changelog", "news"),
        "text",
    ),
    **dict.fromkeys(("makefile", "dockerfile"), "code"),
}

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"RIFF", "a media file"),
    (b"II*\0", "a TIFF image"),
    (b"MM\0*", "a TIFF image"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ", "an xz archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"\xca\xfe\xba\xbe", "a program"),
    (b"SQLite format 3\0", "a database"),
    (b"%!PS", "a PostScript file"),
    (b"{\\rtf", "an RTF document"),
)
_ZIP = b"PK\x03\x04"
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_TEXTUAL: frozenset[str] = frozenset(_SUFFIXES) - {"pdf", "docx"}

Content = Literal["pdf", "docx", "html", "text"]


def format_of_name(path: Path) -> Format | None:
    """What the file's name promises; None for a kind that is not known."""
    if (known := BY_SUFFIX.get(path.suffix.lower())) is not None:
        return known
    return BY_NAME.get(path.name.lower())


def detect(path: Path, data: bytes) -> tuple[Format, str | None]:
    """The format to read ``data`` as, and a warning where the name says something else.

    Raises ``UnreadableDocumentError`` for content that contradicts the name,
    ``UnsupportedFormatError`` where neither name nor content is a kind that can be read, and
    ``EncryptedDocumentError`` for a Word file under a password.
    """
    promised = format_of_name(path)
    content = _content(path, data, promised)
    if promised is None:
        return content, None
    if content == promised or (content in {"text", "html"} and promised in _TEXTUAL):
        if content == "html" and promised == "text":
            return "html", f"named {path.suffix or path.name}, but holds HTML"
        return promised, None
    if promised in {"pdf", "docx"} and content == "text":
        raise UnreadableDocumentError(
            f"{path} is not a {promised.upper()} file: its content is something else.",
            data={"path": str(path)},
        )
    return content, f"named {path.suffix or path.name}, but holds {content.upper()}"


def _content(path: Path, data: bytes, promised: Format | None) -> Content:
    head = data[:1024]
    if head.startswith(b"%PDF-") or (b"%PDF-" in head and promised in {None, "pdf"}):
        return "pdf"
    if head.startswith(_ZIP):
        return _zip_content(path, data, promised)
    if head.startswith(_OLE):
        _refuse_ole(path, data, promised)
    for magic, kind in _MAGIC:
        # Two letters that a text may begin with do not make it a program.
        if head.startswith(magic) and (len(magic) > 3 or b"\0" in head or magic[0] > 127):
            _refuse(path, kind, promised)
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return "html" if start.startswith((b"<!doctype html", b"<html")) else "text"


def _zip_content(path: Path, data: bytes, promised: Format | None) -> Content:
    if b"word/document" not in data and promised != "docx":
        _refuse(path, "a ZIP archive", promised)
    return "docx"


def _refuse_ole(path: Path, data: bytes, promised: Format | None) -> NoReturn:
    if "EncryptedPackage".encode("utf-16-le") in data:
        raise EncryptedDocumentError(f"{path} asks for a password.", data={"path": str(path)})
    _refuse(path, "an old Office file", promised)


def _refuse(path: Path, kind: str, promised: Format | None) -> NoReturn:
    if promised is None:
        raise UnsupportedFormatError(f"{path} is {kind}.", data={"path": str(path)})
    raise UnreadableDocumentError(
        f"{path} is {kind}, not what its name says.", data={"path": str(path)}
    )
