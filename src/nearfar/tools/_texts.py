"""Texts of files: how they are written in bytes, what is found in them, what changed."""

import contextlib
import difflib
from collections.abc import Iterator
from dataclasses import dataclass

from nearfar.errors import ToolFailedError

_MAX_DIFF_LINES = 5000
_LINE_SHOWN = 300


@dataclass(frozen=True)
class Text:
    """A file's text and how it is written in bytes."""

    text: str
    encoding: str = "utf-8"


def decoded(content: bytes) -> Text:
    """Text as UTF-8, or UTF-16 where the file says so; ToolFailedError for anything else."""
    encoding = "utf-8-sig" if content.startswith(b"\xef\xbb\xbf") else "utf-8"
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "utf-16"
    with contextlib.suppress(UnicodeDecodeError):
        text = content.decode(encoding)
        if "\x00" not in text:
            return Text(text, encoding)
    raise ToolFailedError(
        "The file is not a text.", remedy="For PDF and Word files use an index and `documents`."
    )


def matches(shown: str, content: str, wanted: str, most: int) -> Iterator[str]:
    """Lines with ``wanted`` (in lower case) in them, at most so many, each with where it stands."""
    if wanted not in content.casefold():
        return
    for number, line in enumerate(content.splitlines(), start=1):
        if most <= 0:
            return
        if wanted in line.casefold():
            most -= 1
            yield f"{shown}:{number}: {line.strip()[:_LINE_SHOWN]}"


def diff_of(shown: str, old: str, new: str) -> str:
    """A unified diff; only its size where the texts are too long to compare line by line."""
    before, after = old.splitlines(keepends=True), new.splitlines(keepends=True)
    if len(before) + len(after) > _MAX_DIFF_LINES:
        return f"{shown}: {len(before):,} lines become {len(after):,} (too long for a diff)\n"
    lines = difflib.unified_diff(before, after, f"a/{shown}", f"b/{shown}")
    return "".join(
        line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines
    )
