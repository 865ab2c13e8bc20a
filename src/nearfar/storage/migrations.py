"""Schema changes, in order, each whole or not at all. ``PRAGMA user_version`` counts them."""

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nearfar.errors import SchemaVersionError

from .database import transaction


@dataclass(frozen=True)
class Migration:
    """One step of the schema. ``apply`` runs inside a transaction and must not commit."""

    name: str
    apply: Callable[[sqlite3.Connection], None]

    @classmethod
    def sql(cls, name: str, *statements: str) -> "Migration":
        """A step that is made of SQL statements, one per argument."""

        def apply(connection: sqlite3.Connection) -> None:
            for statement in statements:
                connection.execute(statement)

        return cls(name, apply)


def migrate(connection: sqlite3.Connection, migrations: Sequence[Migration]) -> int:
    """Apply what the database lacks and return how many steps that were.

    The list may only grow at its end. Two processes that start together do not disturb each other.
    Raises SchemaVersionError when the database has had more steps than ``migrations`` knows;
    whatever a step raises undoes that step, and those before it stay.
    """
    applied = 0
    while _version(connection, migrations) < len(migrations):
        applied += _apply_next(connection, migrations)
    return applied


def _apply_next(connection: sqlite3.Connection, migrations: Sequence[Migration]) -> int:
    """How many steps this call applied: none when another process was quicker."""
    with transaction(connection):
        version = _version(connection, migrations)
        if version == len(migrations):
            return 0
        migrations[version].apply(connection)
        connection.execute(f"PRAGMA user_version = {version + 1}")
    return 1


def _version(connection: sqlite3.Connection, migrations: Sequence[Migration]) -> int:
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > len(migrations):
        raise SchemaVersionError(
            f"The database has schema {version}; this Nearfar knows schemas up to "
            f"{len(migrations)}.",
            data={"found": version, "known": len(migrations)},
        )
    return version
