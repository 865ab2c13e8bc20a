"""What cascades did: one row for each item, in ``nearfar.db``."""

import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nearfar.settings import Settings

from .database import connect, database_path
from .migrations import Migration, migrate

_MIGRATIONS = (
    Migration.sql(
        "cascade outcomes",
        """CREATE TABLE cascade_outcomes (
            id INTEGER PRIMARY KEY, cascade TEXT NOT NULL, escalated INTEGER NOT NULL,
            passed INTEGER NOT NULL, reason TEXT, near_usd REAL, far_usd REAL, at REAL NOT NULL
        )""",
        "CREATE INDEX cascade_outcomes_by_name ON cascade_outcomes (cascade)",
    ),
)

_SUMMARY = """
    SELECT cascade, count(*), sum(escalated), sum(passed), sum(near_usd), sum(far_usd),
           sum(near_usd IS NULL OR far_usd IS NULL)
    FROM cascade_outcomes GROUP BY cascade ORDER BY cascade
"""


@dataclass(frozen=True)
class Row:
    """One item: ``passed`` is what the check says in the end, costs are None where not known."""

    cascade: str
    escalated: bool
    passed: bool
    reason: str | None
    near_usd: float | None
    far_usd: float | None


class CascadeLog:
    """The table of outcomes; one connection, for one thread at a time."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._connection: sqlite3.Connection = connect(path)
        try:
            migrate(self._connection, _MIGRATIONS, part="cascades")
        except BaseException:
            self._connection.close()
            raise

    @classmethod
    def open(cls, settings: Settings) -> "CascadeLog":
        """The log in the database of ``storage.url``."""
        return cls(database_path(settings))

    def __enter__(self) -> "CascadeLog":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def add(self, row: Row) -> None:
        """Note an item."""
        self._connection.execute(
            "INSERT INTO cascade_outcomes (cascade, escalated, passed, reason, near_usd, far_usd,"
            " at) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                *(row.cascade, row.escalated, row.passed, row.reason),
                *(row.near_usd, row.far_usd, self._clock()),
            ),
        )

    def summary(self) -> list[dict[str, Any]]:
        """For each cascade: items, the shares that passed, what they cost, and the usual reasons."""
        return [self._summed(row) for row in self._connection.execute(_SUMMARY).fetchall()]

    def _summed(self, row: tuple[Any, ...]) -> dict[str, Any]:
        name, items, escalated, passed, near_usd, far_usd, unknown = row
        reasons = self._connection.execute(
            "SELECT reason, count(*) FROM cascade_outcomes WHERE cascade = ? AND reason IS NOT NULL"
            " GROUP BY reason ORDER BY 2 DESC, 1 LIMIT 5",
            (name,),
        ).fetchall()
        return {
            "cascade": name,
            "items": items,
            "escalated": escalated,
            "near_passed": round((items - escalated) / items, 4),
            "passed": round(passed / items, 4),
            "near_usd": None if unknown else near_usd,
            "far_usd": None if unknown else far_usd,
            "usd": None if unknown else (near_usd or 0.0) + (far_usd or 0.0),
            "reasons": dict(reasons),
        }
