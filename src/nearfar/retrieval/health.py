"""What an index holds, and whether all of it is there."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nearfar.errors import NearfarError

from .files import scan
from .manifest import Manifest

if TYPE_CHECKING:
    from .store import FaissStore


@dataclass(frozen=True, slots=True)
class IndexInfo:
    """What an index is, for people and for ``--json``."""

    name: str
    path: str
    roots: tuple[str, ...]
    files: int
    documents: int
    chunks: int
    failed: int
    bytes: int
    embedder: str | None
    updated_at: str | None  # ISO 8601, UTC


@dataclass(frozen=True, slots=True)
class IndexCheck:
    """``ok`` is whether it can be searched; ``stale`` are files that differ from what it holds."""

    ok: bool
    problems: tuple[str, ...]
    stale: tuple[str, ...]


def describe(folder: Path, name: str, manifest: Manifest) -> IndexInfo:
    """The index's facts; zeros where nothing was ever added."""
    exists = manifest.path.is_file()
    facts = manifest.facts() if exists else {}
    rows = list(manifest.files().values()) if exists else []
    held = {row.document for row in rows if row.document}
    documents = manifest.documents() if exists else {}
    return IndexInfo(
        name=name,
        path=str(folder),
        roots=tuple(manifest.roots()) if exists else (),
        files=sum(row.document is not None for row in rows),
        documents=len(held),
        chunks=sum(documents[d].chunks for d in held if d in documents),
        failed=sum(row.error is not None for row in rows),
        bytes=folder_bytes(folder),
        embedder=facts.get("embedder_name"),
        updated_at=facts.get("updated_at"),
    )


def examine(
    manifest: Manifest, load_store: "Callable[[], FaissStore]", exclude: Sequence[str]
) -> IndexCheck:
    """Read everything; problems are collected, not raised."""
    problems: list[str] = []
    stale: list[str] = []
    try:
        if (word := manifest.integrity()) != "ok":
            problems.append(f"manifest: {word}")
        problems += _missing(manifest, load_store())
        stale = _stale(manifest, exclude)
    except NearfarError as error:
        problems.append(f"{error.code}: {error.message}")
    return IndexCheck(not problems, tuple(problems), tuple(stale))


def folder_bytes(folder: Path) -> int:
    """What the files of a folder add up to."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):  # a file that another program just replaced
            total += path.stat().st_size if path.is_file() else 0
    return total


def _missing(manifest: Manifest, store: "FaissStore") -> list[str]:
    sources = manifest.sources()
    problems = []
    for document in manifest.documents().values():
        if document.id in sources:
            missing = document.chunks - len(store.get_by_ids(document.chunk_ids))
            if missing:
                problems.append(f"{missing} passages of {sources[document.id][0]} are missing")
    return problems


def _stale(manifest: Manifest, exclude: Sequence[str]) -> list[str]:
    found = scan([root for root in manifest.roots() if Path(root).exists()], exclude=exclude)
    now = {file.path: (file.size, file.mtime_ns) for file in found.files}
    known = {row.path: (row.size, row.mtime_ns) for row in manifest.files().values()}
    return sorted(path for path in now.keys() | known.keys() if now.get(path) != known.get(path))
