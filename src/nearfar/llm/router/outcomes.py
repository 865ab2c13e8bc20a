"""How good answers turned out to be: a small table in nearfar.db that the policy `quality` reads."""

import contextlib
import logging
import sqlite3
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from langchain_core.messages import BaseMessage

from nearfar.errors import InvalidParameterError, StorageError
from nearfar.settings import Settings, resolve
from nearfar.storage import Migration, connect, database_path, migrate, transaction

PART = "outcomes"
MIGRATIONS = (
    Migration.sql(
        "outcomes",
        """CREATE TABLE outcomes (
            candidate TEXT NOT NULL,   -- its name in the settings
            label TEXT NOT NULL,       -- '': all labels together
            weight REAL NOT NULL,      -- how many outcomes, older ones counting less
            total REAL NOT NULL,       -- their scores, added up in the same way
            recorded INTEGER NOT NULL, -- how many there were
            at REAL NOT NULL,          -- of the last, in seconds since 1970
            PRIMARY KEY (candidate, label)
        ) WITHOUT ROWID""",
    ),
)
FADING = 0.99
"""What an outcome counts for when the next one comes: about the last hundred matter."""
FRESH_S = 2.0
"""Other processes' outcomes are seen after this many seconds."""
_ADD = """INSERT INTO outcomes VALUES (:candidate, :label, 1, :score, 1, :at)
    ON CONFLICT DO UPDATE SET weight = weight * :fading + 1, recorded = recorded + 1,
        total = total * :fading + excluded.total, at = excluded.at"""
_log = logging.getLogger(__name__)


class Outcomes:
    """The table in the database at ``path``; one object for each file of a process. Thread-safe."""

    _shared: dict[Path, "Outcomes"] = {}  # noqa: RUF012  (guarded by the lock)
    _lock = threading.Lock()

    def __init__(self, path: Path) -> None:
        self.path = path
        self._sums: dict[tuple[str, str], tuple[float, float]] = {}
        self._read_at: float | None = None

    @classmethod
    def at(cls, path: Path) -> "Outcomes":
        """The one of this process."""
        with cls._lock:
            return cls._shared.setdefault(path, cls(path))

    def record(self, candidate: str, score: float, label: str | None = None) -> None:
        """One more outcome. Raises StorageError."""
        connection = connect(self.path)
        with contextlib.closing(connection):
            migrate(connection, MIGRATIONS, part=PART)
            with transaction(connection):
                row = {"candidate": candidate, "score": score, "at": time.time(), "fading": FADING}
                for kind in {"", label or ""}:
                    connection.execute(_ADD, {**row, "label": kind})
        self._read_at = None

    def sums(self) -> Mapping[tuple[str, str], tuple[float, float]]:
        """(weight, total) by candidate and label, at most ``FRESH_S`` old.

        A database that cannot be read never fails a request: what was known stays.
        """
        now = time.monotonic()
        if self._read_at is None or now - self._read_at > FRESH_S:
            self._read_at = now
            try:
                self._sums = self._read()
            except StorageError as error:
                _log.warning("outcomes cannot be read: %s", error)
        return self._sums

    def _read(self) -> dict[tuple[str, str], tuple[float, float]]:
        if not self.path.is_file():
            return {}
        with contextlib.closing(connect(self.path, read_only=True)) as connection:
            if not _has_table(connection):
                return {}
            rows = connection.execute("SELECT candidate, label, weight, total FROM outcomes")
            return {(row[0], row[1]): (row[2], row[3]) for row in rows}


def record_outcome(
    reply: BaseMessage | Mapping[str, Any],
    score: float,
    *,
    label: str | None = None,
    settings: Settings | str | Path | None = None,
) -> None:
    """Say how good a reply was, from 0 to 1, so that the policy `quality` learns from it.

    ``reply`` is what a router gave, or its receipt. ``label`` is the kind of request; None: the one
    that the request had. Takes a millisecond or so. Raises InvalidParameterError where no candidate
    of a router answered, or for a score out of range, and StorageError.
    """
    receipt = reply.response_metadata.get("nearfar") if isinstance(reply, BaseMessage) else reply
    candidate = receipt.get("answered_by") if isinstance(receipt, Mapping) else None
    if receipt is None or candidate is None:
        raise InvalidParameterError(
            "The reply has no receipt that says which candidate of a router answered.",
            data={"parameter": "reply", "value": type(reply).__name__},
        )
    if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
        raise InvalidParameterError(
            "score must be a number from 0 to 1.", data={"parameter": "score", "value": str(score)}
        )
    kind = label or receipt.get("label")
    Outcomes.at(database_path(resolve(settings))).record(candidate, float(score), kind)


def _has_table(connection: sqlite3.Connection) -> bool:
    query = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'outcomes'"
    return connection.execute(query).fetchone() is not None
