"""A named index: documents that were added once and stay searchable, kept up to date file by file."""

import asyncio
import contextlib
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nearfar.errors import (
    DocumentNotFoundError,
    EmbedderMismatchError,
    IndexDamagedError,
    IndexLockedError,
    IndexNotFoundError,
    LockedError,
    NoDocumentsError,
    UsageError,
)
from nearfar.settings import RetrievalSettings, Settings, home, resolve
from nearfar.storage import file_lock

from .embedder import fingerprint, name_of, offsets_of, window_of
from .files import Scan, absolute, scan, under
from .health import IndexCheck, IndexInfo, describe, examine
from .ingest import Ingest, Recipe
from .manifest import FileRow, Manifest
from .readers import ReadLimits
from .report import IngestReport, OnProgress
from .searching import Filter, Passage, View

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings

    from .store import FaissStore

_NAME = re.compile(r"[^\W_][\w.-]{0,63}")
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\..*)?", re.IGNORECASE)
_MANIFEST = "manifest.db"
_STORE = "store"


class Index:
    """Made by ``open`` or ``for_paths``. Searches may come from any thread, also during a run.

    One writer at a time, over all programs: a second gets IndexLockedError. Searches are never
    blocked; they see the index as of the last commit.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        *,
        settings: RetrievalSettings,
        embeddings: "Callable[[], Embeddings]",
    ) -> None:
        self.folder = folder
        self.name = name
        self.report: IngestReport | None = None  # of the last run of this object
        self._settings = settings
        self._make_embeddings = embeddings
        self._embeddings: Embeddings | None = None
        self._manifest = Manifest(folder / _MANIFEST)
        self._view: View | None = None
        self._lock = threading.Lock()

    @classmethod
    def open(
        cls,
        name: str,
        *,
        settings: Settings | str | Path | None = None,
        embeddings: "Embeddings | None" = None,
        create: bool = False,
    ) -> "Index":
        """The index called ``name``.

        With ``create`` it need not exist; the first ``add`` makes it. Raises IndexNotFoundError,
        and UsageError for a name that no file may have.
        """
        check_name(name)
        index = cls.at(_indexes() / name, name, settings=settings, embeddings=embeddings)
        if not create and not index.exists():
            raise _not_found(name)
        return index

    @classmethod
    def at(
        cls,
        folder: Path,
        name: str,
        *,
        settings: Settings | str | Path | None = None,
        embeddings: "Embeddings | None" = None,
    ) -> "Index":
        """The index in a folder of one's own choice."""
        resolved = resolve(settings)

        def make() -> "Embeddings":
            if embeddings is not None:
                return embeddings
            from nearfar.llm.embeddings import embeddings as configured

            return configured(settings=resolved)

        return cls(folder, name, settings=resolved.retrieval, embeddings=make)

    @classmethod
    def for_paths(
        cls,
        paths: Sequence[str | Path],
        *,
        settings: Settings | str | Path | None = None,
        embeddings: "Embeddings | None" = None,
        on_progress: OnProgress | None = None,
    ) -> "Index":
        """A hidden index of these paths, brought up to date; ``.report`` says what was done.

        It is kept under the home folder's ``cache`` for the next time. Raises
        DocumentNotFoundError, NoDocumentsError where nothing under the paths is a document, and
        where a single file was all there is, and it failed, that file's error.
        """
        from .cache import open_cached

        index = open_cached(paths, settings=settings, embeddings=embeddings)
        report = index.add(paths, on_progress=on_progress, wait=True)
        if report.nothing_readable:
            if len(report.failed) == 1:
                raise report.failed[0].error
            raise NoDocumentsError(
                f"None of {len(report.failed)} files could be read; the first:"
                f" {report.failed[0].error.message}",
                remedy="`nearfar index add` reports each of them.",
                data={
                    "paths": [absolute(path) for path in paths],
                    "failed": [{"path": f.path, "code": f.error.code} for f in report.failed],
                },
            )
        return index

    @staticmethod
    def names() -> list[str]:
        """All indexes that have a name, sorted."""
        folder = _indexes()
        if not folder.is_dir():
            return []
        return sorted(entry.name for entry in folder.iterdir() if (entry / _MANIFEST).is_file())

    @staticmethod
    def delete(name: str) -> None:
        """Take the whole index away; the documents themselves stay. Raises IndexNotFoundError."""
        check_name(name)
        folder = _indexes() / name
        if not (folder / _MANIFEST).is_file():
            raise _not_found(name)
        remove_folder(folder)

    def exists(self) -> bool:
        """Whether anything was ever added."""
        return self._manifest.path.is_file()

    def add(
        self,
        paths: Sequence[str | Path] = (),
        *,
        on_progress: OnProgress | None = None,
        wait: bool = False,
    ) -> IngestReport:
        """Read what is new or changed under ``paths``, and take out what is gone from there.

        Without paths, all that were ever added are looked at again. A file that fails is reported,
        and the rest goes on. Raises DocumentNotFoundError and NoDocumentsError before anything is
        changed, IndexLockedError where another program writes (``wait`` waits for it instead),
        EmbedderMismatchError, DiskFullError. Ctrl-C keeps the files that are done.
        """
        found, gone = self._look(paths)
        with self.writing(wait=wait):
            known = self._manifest.files() if self.exists() else {}
            if not found.files and not found.failed and not gone:
                _refuse_empty(found, known)
            embedding = self._embedding()
            self._prepare(embedding)
            ingest = Ingest(
                self._manifest,
                lambda: self._load_store(embedding),
                offsets_of(embedding),
                self._recipe(embedding),
                on_progress=on_progress,
            )
            self.report = ingest.run(found, gone)
            if self.report.changed:
                self._stamp()
        return self.report

    def remove(self, path: str | Path) -> list[str]:
        """Take a file, or all files of a folder, out of the index; they stay on the disk.

        Returns the paths taken out. Raises DocumentNotFoundError where the index knows none. A file
        in a folder that was added comes back when that folder is added again.
        """
        path = absolute(path)
        with self.writing():
            files = [known for known in self._manifest.files() if under(known, path)]
            roots = [root for root in self._manifest.roots() if under(root, path)]
            if not files and not roots:
                raise DocumentNotFoundError(
                    f"The index {self.name} knows nothing of {path}.",
                    remedy=f"`nearfar index show {self.name}` lists what it holds.",
                    data={"path": path, "name": self.name},
                )
            self._manifest.enter((), files)
            self._manifest.forget_roots(roots)
            embedding = self._embedding()
            self._check_embedder(embedding)
            store = self._load_store(embedding)
            Ingest(self._manifest, store, offsets_of(embedding), self._recipe(embedding)).collect()
            self._stamp()
        return files

    def search(
        self,
        question: str,
        k: int | None = None,
        filter: Filter | None = None,  # noqa: A002
    ) -> list[Passage]:
        """The passages that fit the question best, best first; ``k`` from the settings if None.

        ``filter`` is values that the metadata must have (``{"page": 3}``; ``source`` may be a path
        or a list of paths) or a function of the metadata. Raises EmbedderMismatchError and
        IndexDamagedError; an empty index or question gives an empty list.
        """
        if not question.strip() or not self.exists():
            return []
        wanted = self._settings.k if k is None else k
        return self._current().search(question, wanted, self._settings.fetch_k, filter)

    async def asearch(
        self,
        question: str,
        k: int | None = None,
        filter: Filter | None = None,  # noqa: A002
    ) -> list[Passage]:
        """As ``search``, in a thread."""
        return await asyncio.to_thread(self.search, question, k, filter)

    def files(self) -> list[FileRow]:
        """The files it knows, by path, with their documents or errors."""
        return list(self._manifest.files().values()) if self.exists() else []

    def info(self) -> IndexInfo:
        """Counts and sizes. Needs no embedding model."""
        return describe(self.folder, self.name, self._manifest)

    def check(self) -> IndexCheck:
        """Look whether all is there and whole, and which files have changed since."""

        def load() -> "FaissStore":
            embedding = self._embedding()
            self._check_embedder(embedding)
            return self._load_store(embedding)

        return examine(self._manifest, load, self._settings.exclude)

    @contextlib.contextmanager
    def writing(self, *, wait: bool = False) -> Iterator[None]:
        """Be the one writer over all programs. Raises IndexLockedError."""
        with _writer_lock(self.folder, wait=wait):
            yield

    def _look(self, paths: Sequence[str | Path]) -> tuple[Scan, list[str]]:
        """What there is, and known files whose own path was added and is no more."""
        if paths:
            return scan(paths, exclude=self._settings.exclude), []
        roots = self._manifest.roots() if self.exists() else []
        found = scan(
            [root for root in roots if os.path.lexists(root)], exclude=self._settings.exclude
        )
        gone: list[str] = []
        known = self._manifest.files() if roots else {}
        for root in roots:
            if os.path.lexists(root):
                continue
            if root in known and Path(root).parent.is_dir():
                gone.append(root)
            else:  # a disk that is not there today, rather than documents thrown away
                error = DocumentNotFoundError(
                    f"{root} does not exist; what the index holds of it was kept.",
                    remedy=f"`nearfar index remove {self.name} {root}` takes it out.",
                    data={"path": root},
                )
                found.failed.append((root, error))
        return found, gone

    def _embedding(self) -> "Embeddings":
        if self._embeddings is None:
            self._embeddings = self._make_embeddings()
        return self._embeddings

    def _recipe(self, embedding: "Embeddings") -> Recipe:
        s = self._settings
        tokens = min(s.chunk_tokens, window_of(embedding) or s.chunk_tokens)
        limits = ReadLimits(s.max_file_mb, s.max_pages, s.read_timeout_s)
        return Recipe(tokens, min(s.chunk_overlap, tokens // 2), limits)

    def _prepare(self, embedding: "Embeddings") -> None:
        if self.exists():
            self._check_embedder(embedding)
        self._manifest.create()
        if "embedder" not in self._manifest.facts():
            self._manifest.set_facts(
                embedder=fingerprint(embedding), embedder_name=name_of(embedding), generation="0"
            )

    def _check_embedder(self, embedding: "Embeddings") -> None:
        facts = self._manifest.facts()
        expected, found = facts.get("embedder"), fingerprint(embedding)
        if expected is not None and expected != found:
            raise EmbedderMismatchError(
                f"The index {self.name} was made by {facts.get('embedder_name')}, not by"
                f" {name_of(embedding)}.",
                data={"name": self.name, "expected": expected, "found": found},
            )

    def _stamp(self) -> None:
        self._manifest.set_facts(updated_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))

    def _load_store(self, embedding: "Embeddings") -> "FaissStore":
        from .store import FaissStore

        path = self.folder / _STORE
        if path.exists():
            return FaissStore.load(path, embedding)
        if any(row.document for row in self._manifest.files().values()):
            raise IndexDamagedError(f"{path} is missing.", data={"path": str(path)})
        return FaissStore(embedding, path=path)

    def _current(self) -> View:
        """The view of the newest generation; loading it takes the place of the one before."""
        from .hybrid import HybridRetriever

        with self._lock:
            generation = self._manifest.facts().get("generation", "0")
            if self._view is None or self._view.generation != generation:
                embedding = self._embedding()
                self._check_embedder(embedding)
                store = self._load_store(embedding)
                sources = self._manifest.sources()
                documents = self._manifest.documents()
                held = sum(documents[d].chunks for d in sources if d in documents)
                self._view = View(
                    generation, HybridRetriever(store=store), sources, len(store) == held
                )
            return self._view


def check_name(name: str) -> None:
    """Raises UsageError unless a folder may have this name on every system."""
    if not _NAME.fullmatch(name) or _RESERVED.fullmatch(name) or name.endswith("."):
        raise UsageError(
            f"{name!r} cannot be the name of an index.",
            remedy="Use up to 64 letters, digits, dots, dashes and underscores, a letter first.",
            data={"name": name},
        )


def remove_folder(folder: Path) -> None:
    """Take an index's folder away, unless another program writes to it."""
    with _writer_lock(folder, wait=False):
        shutil.rmtree(folder)


@contextlib.contextmanager
def _writer_lock(folder: Path, *, wait: bool) -> Iterator[None]:
    # Beside the folder, so that it outlives it: a lock in a folder that goes away holds nobody.
    path = folder.with_name(f".{folder.name}.lock")
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(file_lock(path, timeout_s=-1 if wait else 0))
        except LockedError as error:
            raise IndexLockedError(
                f"Another program is writing to the index {folder.name}.",
                data={"path": str(folder)},
            ) from error
        yield


def _indexes() -> Path:
    return home() / "indexes"


def _not_found(name: str) -> IndexNotFoundError:
    return IndexNotFoundError(
        f"There is no index named {name}.", data={"name": name, "known": Index.names()}
    )


def _refuse_empty(found: Scan, known: dict[str, FileRow]) -> None:
    if any(under(path, root) for path in known for root in found.roots):
        return  # what was there is gone, and is to be taken out
    raise NoDocumentsError(
        f"No documents were found in {', '.join(found.roots) or 'the index'}.",
        data={"paths": found.roots, "skipped": [path for path, _ in found.skipped[:50]]},
    )


__all__ = ["Index", "IndexCheck", "IndexInfo", "Passage", "check_name"]
