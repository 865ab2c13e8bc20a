"""A database's tables as the sql tool shows them; everything is asked through that tool."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool

from nearfar.errors import UsageError
from nearfar.llm.steps import Steps
from nearfar.settings import Settings
from nearfar.tools import tool

from .team import Said, call_as

_NUMBER = re.compile(r"int|real|floa|doub|num|dec|money|serial", re.IGNORECASE)
_DECIMAL = re.compile(r"-?(?:0|[1-9]\d{0,17})(?:\.\d+)?")  # no leading zeros: those are codes
_FRACTION = re.compile(r"-?(?:0|[1-9]\d{0,17})\.\d+")
_TIME = re.compile(r"date|time", re.IGNORECASE)
_TIME_NAME = re.compile(r"(?:^|_)(?:date|day|time|when|on|at)(?:$|_)", re.IGNORECASE)


@dataclass(frozen=True)
class Column:
    """A column by name and declared type."""

    name: str
    type: str

    @property
    def is_number(self) -> bool:
        """Something to add up: no key."""
        key = self.name.lower() == "id" or self.name.lower().endswith("_id")
        return bool(_NUMBER.search(self.type)) and not key

    @property
    def is_time(self) -> bool:
        """A date or a time."""
        return bool(_TIME.search(self.type) or _TIME_NAME.search(self.name)) and not self.is_number


@dataclass(frozen=True)
class Table:
    """A table or view."""

    name: str
    columns: tuple[Column, ...]
    schema: str = ""

    def __str__(self) -> str:
        listed = ", ".join(f"{column.name} {column.type}".strip() for column in self.columns)
        return f"{self.schema}.{self.name} ({listed})" if self.schema else f"{self.name} ({listed})"


@dataclass(frozen=True)
class Rows:
    """What a query gave; ``problem`` says why it gave nothing."""

    columns: list[str]
    rows: list[list[Any]]
    more: bool = False
    problem: str = ""


class Database:
    """One database behind the guarded tool."""

    def __init__(self, name: str | None, settings: Settings) -> None:
        urls = _urls(name, settings)
        self.name = next(iter(urls))
        self.tool: BaseTool = tool("sql", settings, databases=urls)
        self.dialect = _dialect(urls[self.name])

    def query(self, sql: str, task: str) -> Steps:
        """A generator that returns ``Rows``."""
        arguments = {"query": sql, "database": self.name}
        call = {"type": "tool_call", "name": "sql", "args": arguments, "id": f"{task} sql"}
        said: Said = yield from call_as("analyst", task, self.tool, call)
        reply = said.reply
        if not isinstance(reply, ToolMessage) or reply.status == "error":
            return Rows([], [], problem=str(getattr(reply, "text", reply)))
        data = reply.artifact["data"]
        return Rows(data["columns"], _with_numbers(data["rows"]), data["more"])

    def tables(self) -> Steps:
        """A generator that returns the tables. Raises UsageError where they cannot be read."""
        listed: Rows = yield from self.query("", "tables")
        if listed.problem:
            raise UsageError(
                f"The database cannot be read: {listed.problem}", remedy="Check its URL or file."
            )
        if self.dialect != "sqlite":
            return _from_schema(listed)
        found = []
        for row in listed.rows:
            name = str(row[0])
            if not re.fullmatch(r"\w+", name):
                continue
            columns: Rows = yield from self.query(f"PRAGMA table_info({name})", "tables")
            made = tuple(Column(str(one[1]), str(one[2] or "")) for one in columns.rows)
            found.append(Table(name, made))
        return found


def _with_numbers(rows: list[list[Any]]) -> list[list[Any]]:
    """Exact decimals come as text; as numbers they can be compared and drawn.

    A first column of whole numbers beside others stays text: it holds labels (years, codes).
    """
    width = len(rows[0]) if rows else 0
    chosen = []
    for place in range(width):
        cells = [row[place] for row in rows if row[place] is not None]
        pattern = _DECIMAL if place or width == 1 else _FRACTION
        if cells and all(isinstance(cell, str) and pattern.fullmatch(cell) for cell in cells):
            chosen.append(place)
    if not chosen:
        return rows
    return [
        [_number(c) if place in chosen and c is not None else c for place, c in enumerate(row)]
        for row in rows
    ]


def _number(text: str) -> int | float:
    return float(text) if "." in text else int(text)


def _urls(name: str | None, settings: Settings) -> dict[str, str]:
    known = settings.tools.sql.databases
    if name is None and len(known) == 1:
        return dict(known)
    if name in known:
        return {name: known[name]}
    if name and Path(name).expanduser().is_file():
        path = Path(name).expanduser().resolve()
        return {"data": f"sqlite:///{path.as_posix()}"}
    listed = ", ".join(known) or "none"
    raise UsageError(
        f"There is no database {name!r}." if name else "Nothing says which database is meant.",
        remedy=f"Give a SQLite file, or a name under tools.sql.databases (known: {listed}).",
    )


def _dialect(url: str) -> str:
    scheme = url.partition(":")[0].partition("+")[0].lower()
    known = {"postgresql": "postgres", "mariadb": "mysql", "mssql": "tsql"}
    return known.get(scheme, scheme)


def _from_schema(listed: Rows) -> list[Table]:
    columns: dict[tuple[str, str], list[Column]] = {}
    for schema, table, column, kind in listed.rows:
        columns.setdefault((str(schema), str(table)), []).append(Column(str(column), str(kind)))
    return [Table(table, tuple(made), schema) for (schema, table), made in columns.items()]


def markdown(columns: Sequence[str], rows: Sequence[Sequence[Any]], most: int = 20) -> str:
    """The first rows as a Markdown table."""
    lines = [_line(columns), _line(["---"] * len(columns)), *map(_line, rows[:most])]
    if len(rows) > most:
        lines.append(f"\n... and {len(rows) - most:,} more rows.")
    return "\n".join(lines)


def _line(cells: Sequence[Any]) -> str:
    shown = ("" if c is None else " ".join(str(c).split()).replace("|", "\\|") for c in cells)
    return f"| {' | '.join(shown)} |"
