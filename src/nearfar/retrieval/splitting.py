"""Splitting: a document's text into passages that an embedding model can take in whole.

A passage stays under one heading and on one page. It is made of whole paragraphs where they fit, of
whole sentences (of lines: in code, tables and lists) where they do not, and only a sentence that is
too long by itself is cut inside. Each passage is exactly ``text[start:end]`` of its document.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .graphemes import is_boundary, previous_boundary
from .readers import Block, DocumentText

if TYPE_CHECKING:
    from langchain_core.documents import Document

TokenOffsets = Callable[[str], Sequence[tuple[int, int]]]

_PIECE = 32_768  # characters that are tokenized in one go
_LONG_TOKEN = 16  # a longer token (an address, a blob) counts as one for each four characters
_SENTENCE = re.compile(
    r"(?<=[.!?\u2026])[\"')\]\u201d\u2019]*\s+|(?<=[\u3002\uff01\uff1f])|\n(?=\s*[-*\u2022] )"
)
_ABBREVIATION = re.compile(
    r"(?:\b(?:[A-Za-z]|e\.g|i\.e|etc|cf|vs|Mr|Mrs|Ms|Dr|Prof|St|No|Fig|Eq|Sec|pp?|al|approx|bzw|z\.B"
    r"|d\.h|u\.a))\.$"
)
_GAP = 64  # white space between two parts of a passage, at most
_FULL_ENOUGH = 0.6  # a passage this full ends rather than take the beginning of a paragraph


@dataclass(frozen=True, slots=True)
class Span:
    """A passage's place in its document. ``tokens`` counts without special tokens."""

    start: int
    end: int
    tokens: int
    page: int | None
    headings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Unit:
    """What is kept whole: a sentence, a line, a code block."""

    start: int
    end: int
    cost: int
    block: Block
    first: bool  # of its block
    block_cost: int


def split(
    document: DocumentText,
    token_offsets: TokenOffsets,
    *,
    chunk_tokens: int = 200,
    overlap_tokens: int = 40,
    source: str | None = None,
    doc_hash: str | None = None,
    document_id: str | None = None,
) -> list["Document"]:
    """LangChain documents with ``source, page, heading, start, end, doc_hash, chunk`` as metadata.

    ``token_offsets`` gives the character span of each token of a text, as
    ``LocalEmbeddings.token_offsets`` does. Ids are ``DOCUMENT_ID-ORDINAL``; without a
    ``document_id`` it is made of source and content, so the same file gives the same ids.
    """
    from langchain_core.documents import Document

    source = str(document.path) if source is None else source
    if doc_hash is None:
        doc_hash = hashlib.sha256(document.text.encode("utf-8", "surrogatepass")).hexdigest()
    if document_id is None:
        document_id = hashlib.sha256(f"{source}\0{doc_hash}".encode()).hexdigest()[:24]
    spans = split_spans(
        document, token_offsets, chunk_tokens=chunk_tokens, overlap_tokens=overlap_tokens
    )
    return [
        Document(
            id=f"{document_id}-{ordinal:05d}",
            page_content=document.text[span.start : span.end],
            metadata={
                "source": source,
                "page": span.page,
                "heading": " > ".join(span.headings) or document.title,
                "start": span.start,
                "end": span.end,
                "doc_hash": doc_hash,
                "chunk": ordinal,
            },
        )
        for ordinal, span in enumerate(spans)
    ]


def split_spans(
    document: DocumentText,
    token_offsets: TokenOffsets,
    *,
    chunk_tokens: int = 200,
    overlap_tokens: int = 40,
) -> Iterator[Span]:
    """The places of the passages, in order. Together they cover all text that is not blank."""
    if chunk_tokens < 1 or not 0 <= overlap_tokens < chunk_tokens:
        raise ValueError("chunk_tokens must be positive, and overlap_tokens less than it")
    packer = _Packer(chunk_tokens, overlap_tokens)
    for block in document.blocks:
        for unit in _units(document.text, block, token_offsets, chunk_tokens):
            yield from packer.add(unit)
    yield from packer.flush()


class _Packer:
    """Fills passages with units; what is over goes into the next."""

    def __init__(self, limit: int, overlap: int) -> None:
        self._limit = limit
        self._overlap = overlap
        self._units: list[_Unit] = []
        self._cost = 0
        self._repeated = 0  # units at the beginning that stand in the passage before, too

    def add(self, unit: _Unit) -> Iterator[Span]:
        if self._units and not self._continues(unit):
            yield from self.flush()
        elif self._units and self._cost + unit.cost > self._limit:
            kept = self._tail(unit)
            yield from self.flush()
            self._units, self._repeated = kept, len(kept)
            self._cost = sum(u.cost for u in kept)
        elif self._units and self._better_apart(unit):
            yield from self.flush()
        self._units.append(unit)
        self._cost += unit.cost

    def flush(self) -> Iterator[Span]:
        """The passage so far, unless all of it was in the one before."""
        if len(self._units) > self._repeated:
            last = self._units[-1]
            yield Span(
                self._units[0].start, last.end, self._cost, last.block.page, last.block.headings
            )
        self._units, self._cost, self._repeated = [], 0, 0

    def _continues(self, unit: _Unit) -> bool:
        """Whether a unit may join: same page and headings, or headings that lead down to it."""
        last = self._units[-1]
        if unit.start - last.end > _GAP or unit.block.page != last.block.page:
            return False
        if unit.block.headings == last.block.headings:
            return unit.block.kind != "heading" or last.block.kind == "heading"
        only_headings = all(u.block.kind == "heading" for u in self._units)
        above = last.block.headings
        return only_headings and unit.block.headings[: len(above)] == above

    def _better_apart(self, unit: _Unit) -> bool:
        return (
            unit.first
            and self._cost >= _FULL_ENOUGH * self._limit
            and self._cost + unit.block_cost > self._limit
        )

    def _tail(self, unit: _Unit) -> list[_Unit]:
        """The last sentences of a paragraph that goes on in the next passage."""
        if unit.first or unit.cost + self._overlap > self._limit:
            return []
        kept: list[_Unit] = []
        cost = 0
        for before in reversed(self._units[1:]):
            cost += before.cost
            if cost > self._overlap or before.block is not unit.block:
                break
            kept.insert(0, before)
        return kept


def _units(text: str, block: Block, token_offsets: TokenOffsets, limit: int) -> Iterator[_Unit]:
    first = True
    for start, end in _pieces(text, block):
        costs = _Costs(text, start, end, token_offsets)
        total = costs.total
        whole = block.kind == "heading" or (block.kind == "code" and total <= limit)
        spans = [(start, end)] if whole else _cuts(text, start, end, block)
        for begin, stop in spans:
            for part_start, part_end, cost in costs.parts(begin, stop, limit):
                yield _Unit(part_start, part_end, cost, block, first, total)
                first = False


def _pieces(text: str, block: Block) -> Iterator[tuple[int, int]]:
    """A huge block in pieces, cut at a line's end or at a space where there is one."""
    start = block.start
    while block.end - start > _PIECE:
        end = start + _PIECE
        for mark in ("\n", " "):
            if (found := text.rfind(mark, start + _PIECE // 2, end)) != -1:
                end = found + 1
                break
        else:
            end = previous_boundary(text, end, start)
        yield start, end
        start = end
    yield start, block.end


def _cuts(text: str, start: int, end: int, block: Block) -> Iterator[tuple[int, int]]:
    """Sentences of prose; lines of anything else."""
    pattern = _SENTENCE if block.kind == "text" else re.compile(r"\n+")
    begin = start
    for found in pattern.finditer(text, start, end):
        if block.kind == "text" and _ABBREVIATION.search(
            text, max(begin, found.start() - 8), found.start()
        ):
            continue
        stop = found.end()
        if stop > begin and is_boundary(text, stop):
            yield begin, stop
            begin = stop
    if begin < end:
        yield begin, end


class _Costs:
    """What the tokens of a piece cost, asked for from left to right."""

    def __init__(self, text: str, start: int, end: int, token_offsets: TokenOffsets) -> None:
        self._text = text
        self._tokens = [
            atom
            for a, b in token_offsets(text[start:end])
            if b > a
            for atom in _atoms(start + a, start + b)
        ]
        self._next = 0

    @property
    def total(self) -> int:
        """Of the whole piece."""
        return sum(cost for _, _, cost in self._tokens)

    def parts(self, start: int, end: int, limit: int) -> Iterator[tuple[int, int, int]]:
        """The stretch as (start, end, cost), in several parts where it costs more than ``limit``."""
        begin, cost, stop = start, 0, start
        while self._next < len(self._tokens) and self._tokens[self._next][0] < end:
            token_start, token_end, price = self._tokens[self._next]
            wide_gap = token_start - stop > _GAP and cost
            if (cost + price > limit and cost) or wide_gap:
                cut = previous_boundary(self._text, token_start, begin)
                yield from self._part(begin, min(cut, end), cost)
                begin, cost = cut, 0
            cost += price
            stop = token_end
            self._next += 1
        yield from self._part(begin, end, cost)

    def _part(self, start: int, end: int, cost: int) -> Iterator[tuple[int, int, int]]:
        while end > start and self._text[end - 1].isspace():
            end -= 1
        while start < end and self._text[start] == "\n":
            start += 1
        if end > start and not self._text[start:end].isspace():
            yield start, end, max(1, cost)


def _atoms(start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """A token as it is; a long one in parts that can be cut apart."""
    if end - start <= _LONG_TOKEN:
        yield start, end, 1
        return
    for at in range(start, end, _LONG_TOKEN):
        stop = min(at + _LONG_TOKEN, end)
        yield at, stop, (stop - at + 3) // 4
