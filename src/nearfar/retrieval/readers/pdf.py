"""PDF: the text of each page, as pypdf extracts it."""

import io
import logging
import re
import time
import warnings
from pathlib import Path
from typing import Any

from nearfar.errors import (
    DocumentError,
    DocumentTooLargeError,
    EncryptedDocumentError,
    UnreadableDocumentError,
)

from .document import TextBuilder

# A word cut at a line's end, as typesetting does it.
_HYPHEN = re.compile(r"(?<=[a-z])-\n(?=[a-z])")
_GAP = re.compile(r"\n\s*\n")
_PARAGRAPH_END = re.compile(r"(?<=[.:!?])[ \t]*\n(?=[A-Z0-9\u2022\u2013-])")


def pdf(
    path: Path, data: bytes, *, max_pages: int, max_seconds: float | None = None
) -> tuple[TextBuilder, int, list[str]]:
    """Text by pages, the number of pages, and warnings about pages that could not be read.

    The time is looked at between pages; what a single page can do to a reader is the affair of
    the process it runs in.
    """
    from pypdf import PdfReader

    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    started = time.monotonic()
    builder = TextBuilder()
    failed: list[int] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            reader = PdfReader(io.BytesIO(data))
            _unlock(path, reader)
            count = len(reader.pages)
        except DocumentError:
            raise
        except Exception as error:  # pypdf raises whatever a damaged file makes it stumble over
            raise _unreadable(path, error) from error
        if count > max_pages:
            raise DocumentTooLargeError(
                f"{path} has {count:,} pages, over the limit of {max_pages:,}.",
                remedy="Split the file, or raise retrieval.max_pages.",
                data={"path": str(path), "pages": count, "limit_pages": max_pages},
            )
        last: Exception | None = None
        for number in range(1, count + 1):
            if max_seconds is not None and time.monotonic() - started > max_seconds:
                raise too_slow(path, max_seconds)
            try:
                text = reader.pages[number - 1].extract_text()
            except Exception as error:  # noqa: BLE001 - as above; the other pages may be well
                failed.append(number)
                last = error
                continue
            _add_page(builder, text, number)
    if last is not None and not builder.blocks:
        raise _unreadable(path, last) from last
    return builder, count, _page_warnings(failed)


def too_slow(path: Path, limit_s: float) -> UnreadableDocumentError:
    """The error for a file that was given up."""
    return UnreadableDocumentError(
        f"{path} was given up after {limit_s:g} s.",
        remedy="Save the file anew in its own program, or raise retrieval.read_timeout_s.",
        data={"path": str(path), "limit_s": limit_s},
    )


def _unlock(path: Path, reader: Any) -> None:
    """Files that only restrict printing open with an empty password; others ask for one."""
    if not reader.is_encrypted:
        return
    from pypdf.errors import DependencyError

    try:
        opened = reader.decrypt("")
    except (DependencyError, NotImplementedError):
        opened = 0  # a cipher that cannot be tried here
    if not opened:
        raise EncryptedDocumentError(f"{path} asks for a password.", data={"path": str(path)})


def _unreadable(path: Path, error: Exception) -> UnreadableDocumentError:
    return UnreadableDocumentError(
        f"{path} could not be read as PDF: {type(error).__name__}.", data={"path": str(path)}
    )


def _add_page(builder: TextBuilder, text: str, number: int) -> None:
    text = text.replace("\0", "").replace("\r\n", "\n").replace("\r", "\n")
    text = text.encode("utf-8", "replace").decode("utf-8")  # lone surrogates
    text = _HYPHEN.sub("", text)
    for part in _GAP.split(text):
        for paragraph in _PARAGRAPH_END.split(part):
            builder.add(paragraph, page=number)


def _page_warnings(failed: list[int]) -> list[str]:
    if not failed:
        return []
    shown = ", ".join(str(number) for number in failed[:10])
    more = f" and {len(failed) - 10} more" if len(failed) > 10 else ""
    return [f"pages that could not be read: {shown}{more}"]
