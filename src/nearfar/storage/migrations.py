"""Schema changes, in order, each whole or not at all.

``PRAGMA user_version`` counts them; where several parts of the program keep their tables in one file,
each part counts its own in the table ``schema_parts``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from nearfar.errors import SchemaVersionError

from .dialect import Statements, is_postgres, lock, transaction

_PARTS = (
    "CREATE TABLE IF NOT EXISTS schema_parts"
    " (part TEXT PRIMARY KEY, version INTEGER NOT NULL) WITHOUT ROWID"
)
_PART = "SELECT version FROM schema_parts WHERE part = ?"
_SET = (
    "INSERT INTO schema_parts VALUES (?, ?)"
    " ON CONFLICT (part) DO UPDATE SET version = excluded.version"
)


@dataclass(frozen=True)
class Migration:
    """One step of the schema. ``apply`` runs inside a transaction and must not commit."""

    name: str
    apply: Callable[[Any], None]

    @classmethod
    def sql(cls, name: str, *statements: str) -> "Migration":
        """A step that is made of SQL statements, one per argument."""

        def apply(connection: Statements) -> None:
            for statement in statements:
                connection.execute(statement)

        return cls(name, apply)


def migrate(
    connection: Statements, migrations: Sequence[Migration], *, part: str | None = None
) -> int:
    """Apply what the database lacks and return how many steps that were.

    ``part`` names whose tables these are, in a file that is shared. The list may only grow at its end. Two processes that start together do not disturb each other.
    Raises SchemaVersionError when the database has had more steps than ``migrations`` knows;
    whatever a step raises undoes that step, and those before it stay.
    """
    applied = 0
    if part is not None:
        _make_parts(connection)
    while _version(connection, migrations, part) < len(migrations):
        applied += _apply_next(connection, migrations, part)
    return applied


def _make_parts(connection: Statements) -> None:
    """In Postgres two programs that make the same table at the same time disturb each other."""
    if not is_postgres(connection):
        connection.execute(_PARTS)
    elif connection.execute("SELECT to_regclass('schema_parts')").fetchone()[0] is None:
        with transaction(connection):
            lock(connection, "schema")
            connection.execute(_PARTS)


def _apply_next(connection: Statements, migrations: Sequence[Migration], part: str | None) -> int:
    """How many steps this call applied: none when another process was quicker."""
    with transaction(connection):
        lock(connection, "schema")
        version = _version(connection, migrations, part)
        if version == len(migrations):
            return 0
        migrations[version].apply(connection)
        if part is None:
            connection.execute(f"PRAGMA user_version = {version + 1}")
        else:
            connection.execute(_SET, (part, version + 1))
    return 1


def _version(connection: Statements, migrations: Sequence[Migration], part: str | None) -> int:
    query, values = ("PRAGMA user_version", ()) if part is None else (_PART, (part,))
    found = connection.execute(query, values).fetchone()
    version = int(found[0]) if found else 0
    if version > len(migrations):
        raise SchemaVersionError(
            f"The database has schema {version}; this Nearfar knows schemas up to "
            f"{len(migrations)}.",
            data={"found": version, "known": len(migrations)},
        )
    return version
