"""Procrastinate's tables: made where there are none, and brought up to date where that is safe.

Procrastinate does not write down which of its migrations a database has had, so we do.
"""

import re
from functools import cache
from pathlib import Path
from typing import Any

from procrastinate.schema import SchemaManager

from nearfar.errors import SchemaVersionError

_LOCK = 0x6E656172_71  # any number; programs that start together make the tables one by one
_FUNCTION = re.compile(r"CREATE (?:OR REPLACE )?FUNCTION (procrastinate_\w+)")
_NOTE = "CREATE TABLE IF NOT EXISTS queue_schema (migration TEXT NOT NULL)"
_PRESENT = (
    "SELECT DISTINCT proname FROM pg_proc WHERE proname LIKE 'procrastinate%'"
    " AND pronamespace = current_schema()::regnamespace"
)
_ALIVE = (
    "SELECT count(*) FROM workers WHERE seen + 2 * length_s > extract(epoch FROM clock_timestamp())"
)


async def make_tables(connection: Any) -> None:
    """Inside a transaction that this begins. Raises SchemaVersionError.

    Tables of an older Procrastinate get what they lack, unless workers are there that may still
    need them as they are. Those of a newer one do as long as nothing is missing.
    """
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        await connection.execute(_NOTE)
        if not await _one(connection, "SELECT to_regclass('procrastinate_jobs') IS NOT NULL"):
            await connection.execute(SchemaManager.get_schema())
            await _note(connection)
            return
        noted = await _one(connection, "SELECT max(migration) FROM queue_schema")
        rows = await (await connection.execute(_PRESENT)).fetchall()
        missing = _wanted() - {row[0] for row in rows}
        if not missing:
            if noted is None:
                await _note(connection)
            return
        pending = [path for path in _migrations() if noted and path.name > noted]
        if not pending:
            raise _does_not_fit(noted, missing)
        await _migrate(connection, pending, str(noted))


async def _migrate(connection: Any, pending: list[Path], noted: str) -> None:
    workers = await _one(connection, "SELECT to_regclass('workers') IS NOT NULL")
    if workers and await _one(connection, _ALIVE):
        raise SchemaVersionError(
            "The queue's tables are of an older Procrastinate than the one here, and workers that "
            "use them are running.",
            remedy="Stop all workers (a dead one counts for two leases), then start this one: it "
            "brings the tables up to date.",
            data={"found": noted, "known": _latest()},
        )
    for path in pending:
        await connection.execute(path.read_text(encoding="utf-8"))
    await _note(connection)


def _does_not_fit(noted: str | None, missing: frozenset[str]) -> SchemaVersionError:
    """Newer than the library, or made by somebody else, we do not know when."""
    newer = noted is not None
    return SchemaVersionError(
        f"The queue's tables are of {'a newer' if newer else 'another'} Procrastinate than the one "
        f"here: they lack {', '.join(sorted(missing))}.",
        remedy="pip install --upgrade procrastinate, as on the other machines."
        if newer
        else "Apply the migrations of the Procrastinate here (its folder sql/migrations) that the "
        "tables have not had, or use a database of its own for Nearfar.",
        data={"found": noted, "known": _latest()},
    )


@cache
def _wanted() -> frozenset[str]:
    return frozenset(_FUNCTION.findall(SchemaManager.get_schema()))


def _migrations() -> list[Path]:
    """In the order in which they are applied."""
    return sorted(Path(SchemaManager.get_migrations_path()).glob("*.sql"))


def _latest() -> str:
    return _migrations()[-1].name


async def _note(connection: Any) -> None:
    await connection.execute("DELETE FROM queue_schema")
    await connection.execute("INSERT INTO queue_schema VALUES (%s)", (_latest(),))


async def _one(connection: Any, query: str) -> Any:
    row = await (await connection.execute(query)).fetchone()
    return row[0]
