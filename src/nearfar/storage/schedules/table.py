"""The table of schedules, in the journal's database.

Each change names the revision that it was decided on: of two processes that decide the same thing
at the same time, one changes the row, and the other one is told.
"""

import json
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from nearfar.storage.dialect import Statements
from nearfar.storage.journal import Journal
from nearfar.storage.migrations import Migration, migrate

from .records import Schedule

PART = "schedules"

MIGRATIONS = (
    Migration.sql(
        "schedules",
        """CREATE TABLE schedules (
            id TEXT NOT NULL UNIQUE,
            name TEXT NOT NULL PRIMARY KEY,
            workflow TEXT NOT NULL,
            reference TEXT NOT NULL,
            folder TEXT NOT NULL,
            input TEXT NOT NULL,
            tenant TEXT NOT NULL,
            priority TEXT NOT NULL,
            cron TEXT,
            every_s INTEGER,
            zone TEXT NOT NULL,
            misfire TEXT NOT NULL,
            grace_s REAL NOT NULL,
            anchor REAL NOT NULL,
            created_at REAL NOT NULL,
            paused INTEGER NOT NULL,
            next_at REAL,
            through REAL NOT NULL,
            seen_at REAL NOT NULL,
            pending TEXT,
            pending_at REAL NOT NULL,
            last_at REAL,
            last_run_id TEXT,
            last_error TEXT,
            fired INTEGER NOT NULL,
            missed INTEGER NOT NULL,
            overlapped INTEGER NOT NULL,
            failed INTEGER NOT NULL,
            rev INTEGER NOT NULL
        )""",
    ),
)

_NAMES = tuple(field.name for field in fields(Schedule))
_COLUMNS = ", ".join(_NAMES)
_SELECT = f"SELECT {_COLUMNS} FROM schedules"  # noqa: S608 - our own names
_INSERT = (
    f"INSERT INTO schedules ({_COLUMNS}) VALUES ({', '.join('?' * len(_NAMES))})"  # noqa: S608
    f" ON CONFLICT (name) DO NOTHING RETURNING {_COLUMNS}"
)
_DUE = "pending IS NOT NULL OR (paused = 0 AND (next_at <= ? OR seen_at > ?))"
_JSON = ("input", "last_error")


class ScheduleTable:
    """The schedules of a journal's database."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def make(self) -> None:
        """Make the table where it is not there yet."""
        await self._journal.read(lambda db: migrate(db, MIGRATIONS, part=PART))

    async def add(self, new: Schedule) -> bool:
        """Keep it; False when its name is taken."""
        rows = await self._change(_INSERT, _row(new))
        return bool(rows)

    async def get(self, name: str) -> Schedule | None:
        """The schedule of that name."""
        found = await self._journal.read(lambda db: _all(db, f"{_SELECT} WHERE name = ?", (name,)))
        return found[0] if found else None

    async def all(self) -> list[Schedule]:
        """All schedules, by name."""
        return await self._journal.read(lambda db: _all(db, f"{_SELECT} ORDER BY name", ()))

    async def due(self, now: float, ahead: float) -> list[Schedule]:
        """Those for which something is to be done, the most urgent first.

        Something is due, a run is not started yet, or they were seen when the clock was past
        ``ahead``.
        """
        query = f"{_SELECT} WHERE {_DUE} ORDER BY next_at, name"
        return await self._journal.read(lambda db: _all(db, query, (now, ahead)))

    async def change(self, old: Schedule, **values: Any) -> Schedule | None:
        """The schedule with these values; None when it is not as ``old`` says any more."""
        columns = ", ".join(f"{name} = ?" for name in values)
        query = (
            f"UPDATE schedules SET {columns}, rev = rev + 1 WHERE id = ? AND rev = ?"  # noqa: S608
            f" RETURNING {_COLUMNS}"
        )
        given = [_column(name, value) for name, value in values.items()]
        rows = await self._change(query, (*given, old.id, old.rev))
        return rows[0] if rows else None

    async def remove(self, name: str) -> bool:
        """Forget it; False when there is none."""
        query = f"DELETE FROM schedules WHERE name = ? RETURNING {_COLUMNS}"  # noqa: S608
        return bool(await self._change(query, (name,)))

    async def _change(self, query: str, values: Sequence[Any]) -> list[Schedule]:
        return await self._journal.write(lambda db: _all(db, query, values))


def _all(db: Statements, query: str, values: Sequence[Any]) -> list[Schedule]:
    return [_schedule(row) for row in db.execute(query, tuple(values)).fetchall()]


def _row(schedule: Schedule) -> list[Any]:
    return [_column(name, getattr(schedule, name)) for name in _NAMES]


def _column(name: str, value: Any) -> Any:
    if name in _JSON:
        return None if value is None and name != "input" else json.dumps(value, ensure_ascii=False)
    return int(value) if isinstance(value, bool) else value


def _schedule(row: Sequence[Any]) -> Schedule:
    values = dict(zip(_NAMES, row, strict=True))
    for name in _JSON:
        values[name] = None if values[name] is None else json.loads(values[name])
    return Schedule(**{**values, "paused": bool(values["paused"])})
