"""A cache in cache.db."""

import logging
from pathlib import Path

from nearfar.errors import StorageError

from . import entries
from .entries import CacheStats, Entry, NewEntry, Turn
from .file import CacheFile, default_path
from .upkeep import clear, stats

_log = logging.getLogger(__name__)


class FileStore:
    """The entries of the cache called ``name``, in the file that ``path`` names now."""

    is_near = True
    may_be_away = False

    def __init__(self, name: str, path: Path | None) -> None:
        self.name = name
        self._path = path

    @property
    def file(self) -> CacheFile:
        """The file of this process."""
        return CacheFile.at(self._path or default_path())

    def get(self, key: bytes, after: float) -> Entry | None:
        """The answer to the same request that was stored after that time."""
        return self.file.read(lambda c: entries.get(c, self.name, key, after))

    def nearest(
        self, context: bytes, turn: Turn, *, after: float, threshold: float
    ) -> Entry | None:
        """The answer to the most similar last turn in the same context."""
        return self.file.read(
            lambda c: entries.nearest(c, self.name, context, turn, after=after, threshold=threshold)
        )

    def put(self, entry: NewEntry, *, now: float, ttl_s: float, max_bytes: int) -> bool:
        """Store an answer; False if it is too large."""
        after = now - ttl_s
        return self.file.write(
            lambda c: entries.put(c, self.name, entry, now=now, after=after, max_bytes=max_bytes)
        )

    def asked(self, used: Entry | None, now: float) -> None:
        """Count a hit or a miss. Where the file cannot be written now, an answer is worth more."""
        try:
            if used is None:
                self.file.write(lambda c: entries.count(c, self.name, misses=1))
            else:
                self.file.write(lambda c: entries.hit(c, self.name, used.id, now))
        except StorageError as error:
            _log.debug("Cache %s did not count a request: %s", self.name, error.message)

    def remove(self, *, model: str | None, tenant: str | None) -> int:
        """Delete the answers of a model, of a tenant, or all; how many those were."""
        return clear(self.name, model=model, tenant=tenant, path=self._path)

    def stats(self) -> CacheStats:
        """What it holds and has done."""
        found = stats(path=self._path)
        return next((one for one in found if one.name == self.name), CacheStats(self.name))
