"""One indexing run: what is new is read, split and embedded; what is gone is taken out.

The order of writing makes a run safe to kill at any point. Documents are announced in the manifest,
then their vectors are saved, then their files are entered: searches go by the files, so they see
the old state of a file or the new one. The next run finds announced documents, embeds only the
passages that are not in the store, and takes out the documents that no file holds any more.
"""

import hashlib
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from nearfar import errors
from nearfar.errors import DocumentError, NearfarError

from .files import Found, Scan, under
from .manifest import DocumentRow, FileRow, Manifest
from .readers import DocumentText, ReadLimits, format_of_name
from .readers.process import ReaderProcess
from .readers.read import load
from .report import Failure, IngestReport, Note, OnProgress, Progress
from .splitting import TokenOffsets, split

if TYPE_CHECKING:
    from langchain_core.documents import Document

    from .store import FaissStore

READERS_VERSION = 1  # goes up when readers or splitting give other passages for the same file
BATCH = 256  # passages that are embedded in one go
COMMIT_S = 5.0  # seconds of work that a killed run may lose; more where writing takes long
_RACY_NS = 2_000_000_000  # a file changed this shortly before it was read may have changed again


@dataclass(frozen=True, slots=True)
class Recipe:
    """How files become passages."""

    chunk_tokens: int
    overlap_tokens: int
    limits: ReadLimits

    def for_documents(self) -> str:
        """Part of a document's id: the same content split otherwise is another document."""
        return f"{READERS_VERSION}/{self.chunk_tokens}/{self.overlap_tokens}"

    def for_failures(self) -> str:
        """A file that failed is tried again when the limits are others."""
        limits = self.limits
        return (
            f"{self.for_documents()}/{limits.max_file_mb:g}/{limits.max_pages}/{limits.timeout_s:g}"
        )


class Ingest:
    """The state of a run. Use ``run`` once, under the index's writer lock."""

    def __init__(
        self,
        manifest: Manifest,
        load_store: "Callable[[], FaissStore]",
        token_offsets: TokenOffsets,
        recipe: Recipe,
        *,
        on_progress: OnProgress | None = None,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._manifest = manifest
        self._load_store = load_store
        self._loaded: FaissStore | None = None
        self._token_offsets = token_offsets
        self._recipe = recipe
        self._on_progress = on_progress or (lambda _progress: None)
        self._now_ns = now_ns
        self._report = IngestReport()
        self._files = manifest.files()
        self._owners: dict[str, list[str]] = {}  # document to the paths that hold it
        for row in self._files.values():
            if row.document is not None:
                self._owners.setdefault(row.document, []).append(row.path)
        self._gone: set[str] = set()
        self._announced: dict[str, DocumentRow] = {}  # since the last commit
        self._entered: dict[str, FileRow] = {}  # likewise
        self._queue: list[Document] = []
        self._waiting: list[FileRow] = []  # files whose last passages are in the queue
        self._unsaved = False
        self._committed = time.monotonic()
        self._commit_took = 0.0
        self._at = Progress(0, 0, "", 0)

    @property
    def _store(self) -> "FaissStore":
        """Loaded when it is needed: a run that finds no change does without."""
        if self._loaded is None:
            self._loaded = self._load_store()
        return self._loaded

    def run(self, found: Scan, gone: Iterable[str] = ()) -> IngestReport:
        """Bring the index up to what was found; ``gone`` are further paths that are no more.

        Ctrl-C keeps the files that are done, and goes on as KeyboardInterrupt.
        """
        started = time.monotonic()
        report = self._report
        report.skipped += [Note(*skipped) for skipped in found.skipped]
        report.failed += [Failure(*failed) for failed in found.failed]
        self._find_gone(found, gone)
        try:
            with ReaderProcess(self._recipe.limits) as reader:
                for number, file in enumerate(found.files):
                    self._tell(number, len(found.files), file.path)
                    self._take(file, reader)
                self._embed()
        except KeyboardInterrupt:
            self._keep_done()
            raise
        moved = {note.text for note in report.moved}
        report.deleted = sorted(
            path for path in self._gone - moved if (r := self._files.get(path)) and r.document
        )
        self._commit(last=True, roots=found.roots)
        self.collect()
        report.chunks = sum(document.chunks for document in self._manifest.documents().values())
        report.seconds = time.monotonic() - started
        self._tell(len(found.files), len(found.files), "")
        return report

    def _keep_done(self) -> None:
        """Commit without the files whose passages still wait, or whose twin's do."""
        waiting = {chunk.metadata["doc_hash"] for chunk in self._queue}
        self._entered = {
            path: row for path, row in self._entered.items() if row.document not in waiting
        }
        self._commit()

    def collect(self) -> None:
        """Take out the documents that no file holds, also those of a killed run."""
        sources = self._manifest.sources()
        orphans = [d for d in self._manifest.documents().values() if d.id not in sources]
        if not orphans:
            return
        ids = [chunk_id for document in orphans for chunk_id in document.chunk_ids]
        self._store.delete(ids)
        self._store.save()
        self._manifest.drop(document.id for document in orphans)

    def _find_gone(self, found: Scan, gone: Iterable[str]) -> None:
        here = {file.path for file in found.files}
        # A folder that cannot be looked into says nothing about what is in it.
        unseen = [path for path, _ in found.failed]
        for path in self._files:
            looked_for = any(under(path, root) for root in found.roots)
            if looked_for and path not in here and not any(under(path, at) for at in unseen):
                self._gone.add(path)
        self._gone.update(gone)

    def _take(self, file: Found, reader: ReaderProcess) -> None:
        row = self._files.get(file.path)
        if row is not None and self._is_fresh(row, file):
            self._repeat(row)
            return
        checked = self._now_ns()
        try:
            data = load(Path(file.path), reader.limits)
            document = self._document_id(file.path, data)
            if self._is_known(document, file, checked, row):
                return
            text = reader.read(file.path, data)
        except DocumentError as error:
            self._fail(file, checked, error)
            return
        self._add(file, checked, document, text)

    def _is_fresh(self, row: FileRow, file: Found) -> bool:
        recipe = self._recipe.for_failures() if row.error else self._recipe.for_documents()
        return (row.size, row.mtime_ns, row.recipe) == (
            file.size,
            file.mtime_ns,
            recipe,
        ) and row.mtime_ns < row.checked_ns - _RACY_NS

    def _repeat(self, row: FileRow) -> None:
        """Report again what was found out about a file that has not changed."""
        if row.error is not None:
            self._report.failed.append(Failure(row.path, _error(row.error)))
        else:
            self._report.unchanged.append(row.path)
        self._report.warnings += [Note(row.path, text) for text in row.warnings]

    def _document_id(self, path: str, data: bytes) -> str:
        digest = hashlib.sha256(data)
        digest.update(f"\0{format_of_name(Path(path))}/{self._recipe.for_documents()}".encode())
        return digest.hexdigest()[:24]

    def _is_known(self, document: str, file: Found, checked: int, row: FileRow | None) -> bool:
        """Enter a file whose content is in the index already."""
        owners = self._owners.get(document)
        if not owners:
            return False
        entry = self._row(file, checked, document)
        if file.path in owners:
            assert row is not None or file.path in self._entered  # noqa: S101 - it owns it
            self._report.unchanged.append(file.path)
            entry = replace(entry, warnings=row.warnings if row else ())
        else:
            left = [path for path in owners if path in self._gone or not Path(path).exists()]
            if left:
                self._gone.add(left[0])
                owners.remove(left[0])
                self._report.moved.append(Note(file.path, left[0]))
            else:
                self._report.duplicates.append(Note(file.path, owners[0]))
            self._own(document, file.path)
        self._entered[file.path] = entry
        self._gone.discard(file.path)
        return True

    def _own(self, document: str, path: str) -> None:
        before = self._files.get(path)
        if before is not None and before.document is not None:
            paths = self._owners.get(before.document, [])
            if path in paths:
                paths.remove(path)
        self._owners.setdefault(document, []).append(path)

    def _row(self, file: Found, checked: int, document: str) -> FileRow:
        recipe = self._recipe.for_documents()
        return FileRow(file.path, file.size, file.mtime_ns, checked, recipe, document)

    def _fail(self, file: Found, checked: int, error: DocumentError) -> None:
        self._report.failed.append(Failure(file.path, error))
        if "errno" in error.data:
            return  # the disk or the rights may be better next time; what is known stays
        if isinstance(error, errors.DocumentNotFoundError):
            self._gone.add(file.path)  # it went away while the run was going on
            return
        stored = error.to_dict() | {"kind": type(error).__name__}
        recipe = self._recipe.for_failures()
        self._entered[file.path] = FileRow(
            file.path, file.size, file.mtime_ns, checked, recipe, None, stored
        )

    def _add(self, file: Found, checked: int, document: str, text: DocumentText) -> None:
        chunks = split(
            text,
            self._token_offsets,
            chunk_tokens=self._recipe.chunk_tokens,
            overlap_tokens=self._recipe.overlap_tokens,
            document_id=document,
            doc_hash=document,
        )
        self._announced[document] = DocumentRow(
            document, len(chunks), text.format, text.title, text.pages, len(text.text)
        )
        self._own(document, file.path)
        self._report.read.append(file.path)
        self._report.warnings += [Note(file.path, warning) for warning in text.warnings]
        held = {d.id for d in self._store.get_by_ids([str(c.id) for c in chunks])}
        row = replace(self._row(file, checked, document), warnings=text.warnings)
        for chunk in chunks:
            del chunk.metadata["source"]  # the manifest knows, and files move
            if chunk.id not in held:
                self._queue.append(chunk)
            if len(self._queue) >= BATCH:
                self._embed()
        self._waiting.append(row)

    def _embed(self) -> None:
        """Store what is in the queue; the files it ends are done."""
        if self._queue:
            self._unsaved = True
            self._store.add_documents(self._queue, ids=[str(chunk.id) for chunk in self._queue])
            self._report.embedded += len(self._queue)
            self._queue = []
            self._tell(self._at.done, self._at.total, self._at.path)
        self._entered.update((row.path, row) for row in self._waiting)
        self._waiting.clear()
        work = time.monotonic() - self._committed
        if work > max(COMMIT_S, 10 * self._commit_took):
            self._commit()

    def _commit(self, *, last: bool = False, roots: Sequence[str] = ()) -> None:
        started = time.monotonic()
        if self._announced:
            self._manifest.announce(self._announced.values())
        if self._unsaved:
            self._store.save()
        # Files that are gone leave with the last commit, when it is known which of them moved.
        gone = self._gone if last else ()
        if self._entered or last:
            self._manifest.enter(self._entered.values(), gone, roots)
        self._announced.clear()
        self._entered.clear()
        self._unsaved = False
        self._committed = time.monotonic()
        self._commit_took = self._committed - started

    def _tell(self, done: int, total: int, path: str) -> None:
        self._at = Progress(done, total, path, self._report.embedded)
        self._on_progress(self._at)


def _error(stored: dict[str, object]) -> NearfarError:
    kind = getattr(errors, str(stored["kind"]), DocumentError)
    data = stored["data"] if isinstance(stored["data"], dict) else {}
    error: NearfarError = kind(str(stored["message"]), remedy=str(stored["remedy"]), data=data)
    return error
