"""Hidden indexes: what ``nearfar ask --docs`` has read is kept for the next question."""

import contextlib
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nearfar.errors import IndexLockedError
from nearfar.settings import Settings, home, resolve

from .embedder import fingerprint
from .files import absolute
from .health import folder_bytes
from .index import Index, remove_folder

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings


def open_cached(
    paths: Sequence[str | Path],
    *,
    settings: Settings | str | Path | None = None,
    embeddings: "Embeddings | None" = None,
) -> Index:
    """The hidden index of these paths for this embedding model; others make room if need be."""
    resolved = resolve(settings)
    if embeddings is None:
        from nearfar.llm.embeddings import embeddings as configured

        embeddings = configured(settings=resolved)
    places = sorted({absolute(path) for path in paths})
    key = hashlib.sha256("\0".join([fingerprint(embeddings), *places]).encode()).hexdigest()[:32]
    folder = home() / "cache" / "indexes"
    name = ", ".join(Path(place).name for place in places[:3])
    index = Index.at(folder / key, name, settings=resolved, embeddings=embeddings)
    evict(folder, resolved.retrieval.cache_mb << 20, keep=key)
    with contextlib.suppress(OSError):
        os.utime(folder / key)  # used now; a new one gets its time when it is made
    return index


def evict(folder: Path, limit_bytes: int, *, keep: str) -> list[str]:
    """Remove the least recently used until the rest fits; returns their names.

    ``keep`` stays, and so does one that another program is writing.
    """
    if not folder.is_dir():
        return []
    entries = [entry for entry in folder.iterdir() if entry.is_dir()]
    sizes = {entry: folder_bytes(entry) for entry in entries}
    total = sum(sizes.values())
    removed = []
    for entry in sorted(entries, key=lambda entry: entry.stat().st_mtime_ns):
        if total <= limit_bytes:
            break
        if entry.name == keep:
            continue
        with contextlib.suppress(IndexLockedError, OSError):
            remove_folder(entry)
            total -= sizes[entry]
            removed.append(entry.name)
    return removed
