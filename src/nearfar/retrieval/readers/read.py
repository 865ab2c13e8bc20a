"""``read``: a file's text, whatever its kind, or the error that says why there is none."""

import errno
from dataclasses import dataclass
from pathlib import Path

from nearfar.errors import (
    DocumentNotFoundError,
    DocumentTooLargeError,
    EmptyDocumentError,
    UnreadableDocumentError,
    UnsupportedFormatError,
)

from . import code, html, markdown, plain
from .document import Block, DocumentText, Format, tidy_blocks
from .encoding import decode
from .formats import detect, format_of_name


@dataclass(frozen=True, slots=True)
class ReadLimits:
    """What one file may cost."""

    max_file_mb: float = 100
    max_pages: int = 5_000
    timeout_s: float = 120

    @property
    def max_bytes(self) -> int:
        """``max_file_mb``, which counts MiB, in bytes."""
        return int(self.max_file_mb * 1_048_576)


def read(path: str | Path, limits: ReadLimits | None = None) -> DocumentText:
    """The text of the file.

    Raises one of the ``DocumentError`` family: not found, too large, encrypted, empty (also a scan
    without text), unreadable, unsupported. The time limit holds between the pages of a PDF only;
    ``ReaderProcess`` enforces it.
    """
    path = Path(path)
    limits = limits or ReadLimits()
    return read_bytes(path, load(path, limits), limits)


def load(path: Path, limits: ReadLimits) -> bytes:
    """The file's bytes; raises where it cannot be opened, is not a file, or is too large."""
    data = {"path": str(path)}
    try:
        if not path.is_file():
            if path.exists():
                raise UnsupportedFormatError(f"{path} is not a file.", data=data)
            raise DocumentNotFoundError(f"{path} does not exist.", data=data)
        size = path.stat().st_size
        content = b""
        if size <= limits.max_bytes:
            with path.open("rb") as file:  # which may grow while it is read
                content = file.read(limits.max_bytes + 1)
            size = max(size, len(content))
    except OSError as error:
        if error.errno == errno.ENOENT:
            raise DocumentNotFoundError(f"{path} does not exist.", data=data) from error
        why = error.strerror or type(error).__name__
        raise UnreadableDocumentError(
            f"{path} could not be opened: {why}.",
            remedy="Check the file's permissions.",
            data=data | {"errno": error.errno},
        ) from error
    if size > limits.max_bytes:
        raise DocumentTooLargeError(
            f"{path} has {size:,} bytes, over the limit of {limits.max_bytes:,}.",
            data=data | {"bytes": size, "limit_bytes": limits.max_bytes},
        )
    return content


def read_bytes(path: Path, data: bytes, limits: ReadLimits) -> DocumentText:
    """As ``read``, of content that is already here; ``path`` gives the name."""
    if not data.strip():
        raise EmptyDocumentError(f"{path} is empty.", data={"path": str(path)})
    kind, warning = detect(path, data)
    warnings = [warning] if warning else []
    if kind == "pdf":
        document = _read_pdf(path, data, limits)
    elif kind == "docx":
        document = _read_docx(path, data, limits)
    else:
        document = _read_text(path, data, kind)
    if not document.blocks:
        what = "no text: it may be a scan" if kind == "pdf" else "no text"
        raise EmptyDocumentError(f"{path} holds {what}.", data={"path": str(path)})
    return DocumentText(
        path=path,
        format=kind,
        text=document.text,
        blocks=document.blocks,
        title=document.title,
        pages=document.pages,
        warnings=(*warnings, *document.warnings),
    )


def _read_pdf(path: Path, data: bytes, limits: ReadLimits) -> DocumentText:
    from .pdf import pdf

    builder, pages, warnings = pdf(
        path, data, max_pages=limits.max_pages, max_seconds=limits.timeout_s
    )
    return DocumentText(
        path, "pdf", builder.text, tuple(builder.blocks), None, pages, tuple(warnings)
    )


def _read_docx(path: Path, data: bytes, limits: ReadLimits) -> DocumentText:
    from .docx import docx

    builder, title = docx(path, data, max_bytes=4 * limits.max_bytes)
    return DocumentText(path, "docx", builder.text, tuple(builder.blocks), title)


def _read_text(path: Path, data: bytes, kind: Format) -> DocumentText:
    decoded = html.decode_html(data) if kind == "html" else decode(data)
    if decoded is None:
        content = {"path": str(path)}
        if format_of_name(path) is None:
            raise UnsupportedFormatError(f"{path} is not text.", data=content)
        raise UnreadableDocumentError(f"{path} is not text.", data=content)
    text, title = decoded.text, None
    if kind == "html":
        builder, title = html.html(path, text)
        return DocumentText(
            path, kind, builder.text, tuple(builder.blocks), title, None, decoded.warnings
        )
    blocks: list[Block]
    if kind == "markdown":
        blocks, title = markdown.markdown(text)
    elif kind == "python":
        blocks, title = code.python(text)
    elif kind == "code":
        blocks = code.generic(text)
    elif kind == "rst":
        blocks = plain.restructured(text)
    elif kind == "lines":
        blocks = plain.lines(text)
    else:
        blocks = plain.paragraphs(text)
    return DocumentText(path, kind, text, tidy_blocks(text, blocks), title, None, decoded.warnings)
