"""Sentences of many packages' documentation, and what means nearly the same; for training alone.

``gather_texts.py`` and ``mine_meanings.py`` write the two files. Without them the examples that need
them are left out.
"""

import gzip
import json
from functools import cached_property
from pathlib import Path

Paragraph = tuple[str, ...]


class Gathered:
    """The two files, read."""

    def __init__(self, texts: Path, meanings: Path) -> None:
        self.paragraphs: list[Paragraph] = [
            tuple(p) for p in json.loads(gzip.decompress(texts.read_bytes()))
        ]
        held = json.loads(gzip.decompress(meanings.read_bytes()))
        self.words: dict[str, list[str]] = held["words"]
        self.pairs: list[tuple[int, int]] = [(a, b) for a, b in held["pairs"]]

    @cached_property
    def sentences(self) -> list[tuple[int, str]]:
        """All sentences in order, each with the place of its paragraph."""
        return [(n, s) for n, paragraph in enumerate(self.paragraphs) for s in paragraph]


_in_use: list[Gathered] = []  # one at most


def use(texts: Path | None, meanings: Path | None) -> None:
    """Let examples be made of these files from now on."""
    _in_use[:] = [Gathered(texts, meanings)] if texts and meanings else []


def held() -> Gathered | None:
    """The texts in use, if any."""
    return _in_use[0] if _in_use else None
