"""`sql`: asks a database, and can only read.

Three layers, each enough for most attacks: the query is parsed and checked (`_sql_check`), the
database is opened so that it refuses writes (`_sql_engines`), and rows, cells and time are limited.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any

from pydantic import Field

from nearfar.errors import ConfigurationError, ToolFailedError
from nearfar.settings import Settings

from ._sql_check import check_query
from ._sql_engines import Engine, Rows, engine_for
from .base import Arguments, GuardedTool, Result, guarded

_MAX_CELL = 2000


class SqlArguments(Arguments):
    """What `sql` takes."""

    query: str = Field(
        default="", description="One SELECT statement; empty: lists the tables and their columns."
    )
    database: str = Field(default="", description="The database's name, where there are several.")


def sql(
    settings: Settings,
    *,
    databases: Mapping[str, str] | None = None,
    functions: Sequence[str] | None = None,
    max_rows: int | None = None,
) -> GuardedTool:
    """Read-only queries. ``databases`` are URLs by name."""
    own = settings.tools.sql
    extra = own.functions if functions is None else functions
    urls = own.databases if databases is None else databases
    if not urls:
        raise ConfigurationError(
            "The tool sql has no database to ask.", remedy="Name one under tools.sql.databases."
        )
    engines = {name: engine_for(url, extra) for name, url in urls.items()}
    asker = _Asker(engines, tuple(extra), own.max_rows if max_rows is None else max_rows)
    known = ", ".join(f"{name} ({engine.dialect})" for name, engine in engines.items())
    return guarded(
        settings,
        name="sql",
        description=f"Asks a database by one SELECT statement; nothing can be changed. Databases: {known}.",
        args=SqlArguments,
        body=asker.ask,
        default="allow",
        effects=False,
        facts=asker.facts,
        preview=asker.preview,
    )


@dataclass(frozen=True)
class _Asker:
    engines: Mapping[str, Engine]
    functions: tuple[str, ...]
    max_rows: int

    def facts(self, *, database: str, **_arguments: object) -> dict[str, str]:
        """Rules see the name of the database even where the call left it out."""
        return {"database": self._which(database)}

    def preview(self, query: str, database: str) -> str:
        return f"{self._which(database)}: {query or 'the tables'}"

    def ask(self, query: str, database: str) -> Result:
        name = self._which(database)
        engine = self.engines[name]
        checked = (
            check_query(query, engine.dialect, self.functions) if query.strip() else engine.tables
        )
        rows = engine.query(checked, self.max_rows)
        plain = [[_plain(value) for value in row] for row in rows.rows]
        data = {"columns": rows.columns, "rows": plain, "more": rows.more}
        return Result(_table(rows, plain, self.max_rows), source=f"the database {name}", data=data)

    def _which(self, database: str) -> str:
        if not database and len(self.engines) == 1:
            return next(iter(self.engines))
        if database not in self.engines:
            raise ToolFailedError(
                f"There is no database '{database[:60]}'." if database else "Name a database.",
                remedy=f"Known: {', '.join(self.engines)}.",
            )
        return database


def _plain(value: Any) -> Any:
    """A value of JSON."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, bytes | memoryview):
        return f"({len(value):,} bytes)"
    return _plain_inside(value)


def _plain_inside(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    text = str(value)
    left = len(text) - _MAX_CELL
    return text if left <= 0 else f"{text[:_MAX_CELL]}[... cut: {left:,} more characters]"


def _table(rows: Rows, plain: list[list[Any]], max_rows: int) -> str:
    lines = [" | ".join(rows.columns)]
    lines += [" | ".join(_cell(value) for value in row) for row in plain]
    if rows.more:
        lines.append(f"[... cut: more than {max_rows:,} rows]")
    elif not plain:
        lines.append("(no rows)")
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if value is None:
        return "NULL"
    return str(value).replace("\r", "").replace("\n", "\\n").replace("|", "\\|")
