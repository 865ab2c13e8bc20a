"""Documents with their vectors and words: kept, changed, found, and put on the disk whole.

On the disk: ``documents.db`` (texts, metadata, facts, and the list of segment files with their
checksums) and the segment files. A save writes new segment files first and then commits the
database, which is the one step that makes them count; files that no longer count are removed after
it. A program killed anywhere leaves the state before or after that step.

One lock guards the writes of this process, one file lock those of all. Searches work on an
unchanging list of segments and run side by side.
"""

import json
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfar.errors import EmbedderMismatchError, IndexLockedError, LockedError
from nearfar.storage import file_lock

from . import _segments
from ._documents import Documents, StoredDocument, StoredFile
from ._segments import Segment, SegmentError
from ._vectors import Floats, Mask, Places
from .bm25 import bm25_scores

DATABASE = "documents.db"
LOCK = "lock"
_LOAD_ATTEMPTS = 5  # another program may replace files while they are read

Keep = Callable[[Mapping[str, Any]], bool]


@dataclass(frozen=True, slots=True)
class View:
    """All documents at one moment; what a search works on."""

    segments: tuple[Segment, ...]
    allowed: tuple[Mask, ...]  # per segment: alive, and let through by the filter

    def nearest(self, query: Floats, k: int) -> list[tuple[int, float]]:
        """Row and inner product of the best ``k``, best first; equal ones by age."""
        found: list[tuple[int, float]] = []
        for segment, allowed in zip(self.segments, self.allowed, strict=True):
            places, scores = segment.vectors.search(query, k, allowed)
            found += zip(segment.rows[places].tolist(), scores.tolist(), strict=True)
        return sorted(found, key=lambda pair: (-pair[1], pair[0]))[:k]

    def words(self, query: str) -> "WordScores":
        """How well the words of each document fit."""
        parts = [(segment.postings, segment.alive) for segment in self.segments]
        return WordScores(self, bm25_scores(query, parts))

    def vectors(self, rows: Sequence[int]) -> Floats:
        """The vectors of those rows, in their order. They must be there."""
        wanted = np.array(rows, np.int64)
        result: Floats | None = None
        for segment in self.segments:
            places, hits = _places(segment, wanted)
            if not len(hits):
                continue
            taken = segment.vectors.take(places)
            if result is None:
                result = np.zeros((len(wanted), taken.shape[1]), np.float32)
            result[hits] = taken
        return np.zeros((0, 0), np.float32) if result is None else result


@dataclass(frozen=True, slots=True)
class WordScores:
    """BM25 scores of all documents of a view."""

    view: View
    scores: list[NDArray[np.float32]]

    def best(self, k: int) -> list[tuple[int, float]]:
        """Row and score of the best ``k`` with any word of the query, best first."""
        found: list[tuple[int, float]] = []
        for segment, allowed, scores in zip(
            self.view.segments, self.view.allowed, self.scores, strict=True
        ):
            places = np.flatnonzero(allowed & (scores > 0))
            if len(places) > k:
                places = places[np.argpartition(-scores[places], k - 1)[:k]]
            found += zip(segment.rows[places].tolist(), scores[places].tolist(), strict=True)
        return sorted(found, key=lambda pair: (-pair[1], pair[0]))[:k]

    def of(self, rows: Sequence[int]) -> list[float]:
        """The score of each of those rows."""
        result = np.zeros(len(rows), np.float32)
        for segment, scores in zip(self.view.segments, self.scores, strict=True):
            places, hits = _places(segment, np.array(rows, np.int64))
            result[hits] = scores[places]
        return [float(score) for score in result]


class Collection:
    """See the module. ``path`` None keeps all in memory."""

    def __init__(self, path: Path | None, *, fingerprint: str, embedder: str) -> None:
        self.path = path
        self._fingerprint = fingerprint
        self._embedder = embedder
        self._lock = threading.RLock()
        self._held = ExitStack()  # the file lock, while there are unsaved changes
        self._writing = False
        self._segments: tuple[Segment, ...] = ()
        self._metadata: dict[int, dict[str, Any]] = {}
        self._last_metadata = 0
        self._first_row = 0  # rows are not used again here, not even those of forgotten changes
        self._dimensions: int | None = None
        self._documents = Documents(path and path / DATABASE)
        try:
            self._version = self._documents.version()
            self._load()
        except BaseException:
            self._documents.close()
            raise

    def __len__(self) -> int:
        return sum(segment.living for segment in self._current())

    @property
    def dimensions(self) -> int | None:
        """How many numbers its vectors have; None before the first."""
        return self._dimensions

    def ids(self) -> list[str]:
        """All ids, oldest first."""
        with self._lock:
            return self._documents.ids()

    def get(self, rows: Sequence[int]) -> dict[int, StoredDocument]:
        """The documents of those rows that are still there."""
        with self._lock:
            return self._documents.get(rows)

    def get_ids(self, ids: Sequence[str]) -> list[StoredDocument]:
        """The documents with those ids, in that order, without those that are not there."""
        with self._lock:
            rows = self._documents.rows_of(list(dict.fromkeys(ids)))
            documents = self._documents.get(list(rows.values()))
        return [documents[rows[id_]] for id_ in dict.fromkeys(ids) if id_ in rows]

    def view(self, keep: Keep | None = None) -> View:
        """All documents now; ``keep`` says by their metadata which a search may find."""
        segments = self._current()
        if keep is None:
            return View(segments, tuple(segment.alive for segment in segments))
        metadata = self._all_metadata()
        masks = []
        for segment in segments:
            mask = segment.alive.copy()
            places = np.flatnonzero(mask)
            rows = segment.rows[places].tolist()
            mask[places] = [row in metadata and bool(keep(metadata[row])) for row in rows]
            masks.append(mask)
        return View(segments, tuple(masks))

    def upsert(
        self, ids: Sequence[str], texts: Sequence[str], metadata: Sequence[Any], vectors: Floats
    ) -> None:
        """Add documents, in place of those that have the same ids. Ids must differ."""
        if not ids:
            return
        with self._change():
            self._settle_dimensions(vectors.shape[1])
            old = list(self._documents.rows_of(ids).values())
            first = max(self._documents.next_row(), self._first_row)
            rows = np.arange(first, first + len(ids), dtype=np.int64)
            with self._documents.step():
                self._documents.remove(old)
                self._documents.insert(
                    StoredDocument(*columns)
                    for columns in zip(rows.tolist(), ids, texts, metadata, strict=True)
                )
                added = Segment.of(rows, vectors, texts)
            self._first_row = first + len(ids)
            self._segments = (*self._without(old), added)

    def delete(self, ids: Sequence[str] | None) -> int:
        """Take documents out (None: all); how many there were."""
        with self._change():
            chosen = self._documents.ids() if ids is None else list(dict.fromkeys(ids))
            rows = list(self._documents.rows_of(chosen).values())
            with self._documents.step():
                self._documents.remove(rows)
            self._segments = self._without(rows)
            return len(rows)

    def save(self) -> None:
        """Make all changes last. If this fails they are still there, unless SQLite had to drop them."""
        with self._lock:
            if not self._writing:
                return
            with self._kept_true():
                if self.path is not None:
                    self._write(self.path)
                self._documents.commit()
            self._finish()
            if self.path is not None:
                self._remove_old_files(self.path)

    def rollback(self) -> None:
        """Forget what was not saved."""
        with self._lock:
            if self._writing:
                self._documents.rollback()
                self._finish()
                self._load()

    def close(self) -> None:
        """Forget what was not saved, and let go of files and locks."""
        with self._lock:
            self._documents.rollback()
            self._finish()
            self._documents.close()

    def verify(self) -> None:
        """Read every byte that is on the disk. Raises IndexDamagedError."""
        with self._lock:
            self._documents.verify()
            if self.path is None:
                return
            for files in self._documents.segments().values():
                try:
                    _segments.verify(self.path, files)
                except SegmentError as error:
                    raise self._documents.damaged(f"{error}.") from error

    def _current(self) -> tuple[Segment, ...]:
        """The segments, as few as there should be, with what other programs saved."""
        with self._lock:
            if not self._writing:
                self._follow()
            self._segments = _segments.settled(self._segments)
            return self._segments

    def _follow(self) -> None:
        version = self._documents.version()
        if version != self._version:
            self._load()
            self._version = version

    @contextmanager
    def _change(self) -> Iterator[None]:
        """Take the locks, see what others did, and start to write."""
        with self._lock:
            if not self._writing:
                with ExitStack() as held:
                    if self.path is not None:
                        held.enter_context(_exclusive(self.path))
                    self._follow()
                    self._documents.begin()
                    self._held = held.pop_all()
                self._writing = True
            with self._kept_true():
                yield

    @contextmanager
    def _kept_true(self) -> Iterator[None]:
        """If SQLite ends the transaction because of an error, memory goes back with it."""
        try:
            yield
        except BaseException:
            if not self._documents.writing:
                self._finish()
                self._load()
            raise

    def _finish(self) -> None:
        self._writing = False
        with self._held:
            self._held = ExitStack()
            if self.path is not None:
                self._version = self._documents.version()

    def _settle_dimensions(self, found: int) -> None:
        if self._dimensions is None or not len(self):
            self._dimensions = found
            self._documents.set_fact("dimensions", str(found))
            self._documents.set_fact("fingerprint", self._fingerprint)
            self._documents.set_fact("embedder", self._embedder)
        elif found != self._dimensions:
            raise EmbedderMismatchError(
                f"The store's vectors have {self._dimensions} numbers, these have {found}.",
                data={"expected": self._dimensions, "found": found},
            )

    def _without(self, rows: Sequence[int]) -> tuple[Segment, ...]:
        if not rows:
            return self._segments
        dead = np.array(rows, np.int64)
        return tuple(segment.without(dead) for segment in self._segments)

    def _write(self, folder: Path) -> None:
        with self._documents.step():
            written = tuple(
                segment
                if segment.name is not None
                else _segments.write(segment, folder, f"segment-{secrets.token_hex(8)}")
                for segment in _segments.settled(self._segments)
            )
            self._documents.set_segments(
                (str(segment.name), int(segment.rows[0]), segment.files) for segment in written
            )
        self._segments = written

    def _remove_old_files(self, folder: Path) -> None:
        """Also drafts that a killed program left. Another program may still hold one on Windows."""
        kept = {file.name for segment in self._segments for file in segment.files}
        for pattern in ("segment-*", ".segment-*"):
            for file in folder.glob(pattern):
                if file.name not in kept:
                    with suppress(OSError):
                        file.unlink()

    def _load(self) -> None:
        """Take what is on the disk for what is true."""
        self._metadata, self._last_metadata = {}, 0
        for attempt in range(_LOAD_ATTEMPTS):
            with self._documents.snapshot():
                listed = self._documents.segments()
                living = np.array(self._documents.rows(), np.int64)
                self._check_facts(bool(len(living)))
            try:
                segments = [self._read(name, files) for name, files in listed.items()]
            except SegmentError as error:
                unchanged = self._documents.segments() == listed
                if unchanged or attempt == _LOAD_ATTEMPTS - 1:
                    raise self._documents.damaged(f"{error}.") from error
                continue
            self._segments = tuple(segment.only(living) for segment in segments)
            if sum(segment.living for segment in self._segments) != len(living):
                raise self._documents.damaged("there are passages without vectors.")
            return

    def _read(self, name: str, files: tuple[StoredFile, ...]) -> Segment:
        for segment in self._segments:
            if segment.name == name:
                return segment
        if self.path is None:
            raise SegmentError(f"{name} has no folder")
        return _segments.read(self.path, name, files)

    def _check_facts(self, inhabited: bool) -> None:
        dimensions = self._documents.fact("dimensions")
        self._dimensions = int(dimensions) if dimensions else None
        fingerprint = self._documents.fact("fingerprint")
        if inhabited and fingerprint != self._fingerprint:
            maker = self._documents.fact("embedder")
            raise EmbedderMismatchError(
                f"The index was made by the embedding model {maker}, which is not the one in use "
                f"({self._embedder}).",
                data={"expected": fingerprint, "found": self._fingerprint},
            )

    def _all_metadata(self) -> dict[int, dict[str, Any]]:
        with self._lock:
            for row, metadata in self._documents.metadata_after(self._last_metadata):
                self._metadata[row] = json.loads(metadata)
                self._last_metadata = max(self._last_metadata, row)
            return self._metadata


def _places(segment: Segment, wanted: Places) -> tuple[Places, Places]:
    """Where wanted rows are in the segment, and where they are in ``wanted``."""
    if not len(segment.rows):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    places = np.searchsorted(segment.rows, wanted)
    places[places == len(segment.rows)] = 0
    hits = np.flatnonzero(segment.rows[places] == wanted)
    return places[hits], hits


@contextmanager
def _exclusive(folder: Path) -> Iterator[None]:
    """Be the only writer. Raises IndexLockedError."""
    with ExitStack() as held:
        try:
            held.enter_context(file_lock(folder / LOCK))
        except LockedError as error:
            raise IndexLockedError(
                f"Another program is writing to the index at {folder}.", data={"path": str(folder)}
            ) from error
        yield
