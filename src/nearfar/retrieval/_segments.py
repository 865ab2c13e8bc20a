"""Segments: some documents' vectors and words, made once and never changed.

Deleting marks a place as dead; the marks are not in the files but follow from which rows the
database still has. Two neighbours are joined, without their dead, when the younger is more than
half as large, so a store of n documents has about log2(n) segments and a document is written about
log2(n) times in its life.
"""

import hashlib
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from nearfar.storage import atomic_write

from ._documents import StoredFile
from ._vectors import FlatVectors, Floats, Mask, Places, QuantizedVectors, Vectors, read_index
from .bm25 import Postings

QUANTIZE_ROWS = (
    200_000  # a segment this large (300 MB of floats at 384 numbers) keeps bytes in memory
)
_MOST_DEAD = 0.25  # a segment with more dead than this is written anew without them
VECTORS, WORDS, FLOATS = ".faiss", ".words", ".f32"


class SegmentError(Exception):
    """A file of a segment is missing or is not what it must be; the text says which and how."""


@dataclass(frozen=True)
class Segment:
    """``rows`` ascend; place i of vectors, postings and ``alive`` belongs to ``rows[i]``."""

    rows: Places
    vectors: Vectors
    postings: Postings
    alive: Mask
    name: str | None = None  # None: not on the disk
    files: tuple[StoredFile, ...] = ()

    @classmethod
    def of(cls, rows: Places, vectors: Floats, texts: Sequence[str]) -> "Segment":
        """A new one, in memory."""
        return cls(rows, FlatVectors.of(vectors), Postings.of(texts), np.ones(len(rows), bool))

    @property
    def living(self) -> int:
        """How many documents are alive."""
        return int(self.alive.sum())

    def without(self, dead: Places) -> "Segment":
        """The same with those rows dead."""
        return replace(self, alive=self.alive & ~np.isin(self.rows, dead))

    def only(self, living: Places) -> "Segment":
        """The same with only those rows alive."""
        return replace(self, alive=np.isin(self.rows, living))


def joined(parts: Sequence[Segment]) -> Segment:
    """One segment of all that are alive in the parts."""
    return Segment(
        np.concatenate([part.rows[part.alive] for part in parts]),
        FlatVectors.of(
            np.concatenate([part.vectors.take(np.flatnonzero(part.alive)) for part in parts])
        ),
        Postings.joined([(part.postings, part.alive) for part in parts]),
        np.ones(sum(part.living for part in parts), bool),
    )


def settled(segments: Sequence[Segment]) -> tuple[Segment, ...]:
    """The same documents in as many segments as there should be."""
    result: list[list[Segment]] = []
    sizes: list[int] = []
    for segment in segments:
        if not segment.living:
            continue
        result.append([segment])
        sizes.append(segment.living)
        while len(sizes) > 1 and sizes[-2] < 2 * sizes[-1]:
            size, parts = sizes.pop(), result.pop()
            sizes[-1] += size
            result[-1] += parts
    return tuple(
        group[0] if len(group) == 1 and _mostly_alive(group[0]) else joined(group)
        for group in result
    )


def write(segment: Segment, folder: Path, name: str) -> Segment:
    """Put it on the disk; what comes back knows its files, and holds bytes if it is large."""
    vectors = segment.vectors
    contents = {f"{name}{WORDS}": segment.postings.to_bytes()}
    if isinstance(vectors, FlatVectors) and len(segment.rows) < QUANTIZE_ROWS:
        contents[f"{name}{VECTORS}"] = vectors.to_bytes(segment.rows)
    else:
        codes, floats = QuantizedVectors.to_bytes(vectors.take(slice(None)), segment.rows)
        contents |= {f"{name}{VECTORS}": codes, f"{name}{FLOATS}": floats}
    for file, data in contents.items():
        atomic_write(folder / file, data)
    if f"{name}{FLOATS}" in contents:
        index, _ = read_index(contents[f"{name}{VECTORS}"])
        vectors = QuantizedVectors(index, folder / f"{name}{FLOATS}")
    files = tuple(
        StoredFile(file, len(data), hashlib.sha256(data).hexdigest())
        for file, data in contents.items()
    )
    return replace(segment, vectors=vectors, name=name, files=files)


def read(folder: Path, name: str, files: tuple[StoredFile, ...]) -> Segment:
    """Read what ``write`` wrote, all alive. Raises SegmentError.

    Every byte is checked but the floats of a large segment, which are mapped: ``verify`` reads them.
    """
    kinds = {Path(file.name).suffix: file for file in files}
    try:
        index, rows = read_index(_checked(folder, kinds[VECTORS]))
        postings = Postings.from_bytes(_checked(folder, kinds[WORDS]))
        vectors: Vectors = FlatVectors(index)
        if FLOATS in kinds:
            _check_size(folder, kinds[FLOATS])
            vectors = QuantizedVectors(index, folder / kinds[FLOATS].name)
    except (ValueError, KeyError, zipfile.BadZipFile) as error:
        raise SegmentError(f"{name}: {error}") from error
    if not len(rows) == len(vectors) == len(postings.lengths):
        raise SegmentError(f"the files of {name} do not belong together")
    return Segment(rows, vectors, postings, np.ones(len(rows), bool), name, files)


def verify(folder: Path, files: Sequence[StoredFile]) -> None:
    """Read every byte. Raises SegmentError."""
    for file in files:
        _checked(folder, file)


def _mostly_alive(segment: Segment) -> bool:
    return segment.living >= (1 - _MOST_DEAD) * len(segment.rows)


def _checked(folder: Path, file: StoredFile) -> bytes:
    with _readable(file):
        data = (folder / file.name).read_bytes()
    if hashlib.sha256(data).hexdigest() != file.sha256:
        raise SegmentError(f"{file.name} is not what was written")
    return data


def _check_size(folder: Path, file: StoredFile) -> None:
    with _readable(file):
        size = (folder / file.name).stat().st_size
    if size != file.bytes:
        raise SegmentError(f"{file.name} is not what was written")


@contextmanager
def _readable(file: StoredFile) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise SegmentError(f"{file.name} is missing") from error
    except OSError as error:
        raise SegmentError(f"{file.name} cannot be read ({error.strerror})") from error
