"""Hidden indexes: what ``nearfar ask --docs`` has read is kept for the next question."""

import contextlib
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from nearfar.errors import IndexLockedError
from nearfar.settings import home

from .health import folder_bytes
from .places import remove_folder


def cached_folder(places: Sequence[str], fingerprint: str, *, limit_bytes: int) -> Path:
    """Where the hidden index of these absolute paths is; others make room for it if need be.

    ``fingerprint`` is the embedding model's. The folder need not be there yet.
    """
    key = hashlib.sha256("\0".join([fingerprint, *sorted(places)]).encode()).hexdigest()[:32]
    folder = home() / "cache" / "indexes"
    evict(folder, limit_bytes, keep=key)
    with contextlib.suppress(OSError):
        os.utime(folder / key)  # used now; a new one gets its time when it is made
    return folder / key


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
