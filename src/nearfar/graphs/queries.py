"""A question about a table as one query, by rules: for models that cannot write SQL.

It knows how many, total, average, highest and lowest; "by", "per", "each" and "which" a column; a
year; and values of the table that stand in the question. How it read the question stands in the
report, so that a reader sees where it was misread.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .sentences import content_words
from .tables import Column, Table

MOST = 50  # rows that are asked for

_COUNT = re.compile(r"\bhow many\b|\bnumber of\b|\bcount\b", re.IGNORECASE)
_SUM = re.compile(r"\btotal\b|\bsum\b|\bhow much\b|\boverall\b|\ball together\b", re.IGNORECASE)
_MEAN = re.compile(r"\baverage\b|\bmean\b|\bon average\b", re.IGNORECASE)
_HIGH = re.compile(
    r"\b(?:highest|largest|biggest|greatest|most|maximum|max|top|best|longest)\b", re.IGNORECASE
)
_LOW = re.compile(
    r"\b(?:lowest|smallest|least|fewest|minimum|min|worst|shortest|cheapest)\b", re.IGNORECASE
)
_GROUP = re.compile(
    r"\b(?:by|per|each|every|which|what|across|for all)\s+(?:the\s+)?(\w+)", re.IGNORECASE
)
_UNITS = {"year": "%Y", "month": "%Y-%m", "day": "%Y-%m-%d"}
_YEAR = re.compile(r"\b((?:19|20)\d\d)\b")
_WORDS = {"SUM": "total", "AVG": "average", "MAX": "highest", "MIN": "lowest"}


@dataclass(frozen=True)
class Query:
    """One query, and in words what it asks."""

    sql: str
    reading: str
    grouped: bool = False


def best_table(question: str, tables: Sequence[Table]) -> Table | None:
    """The table whose name and columns the question speaks of most; None where it speaks of none."""
    words = set(content_words(question))

    def score(table: Table) -> int:
        named = bool(words & set(content_words(table.name)))
        return 3 * named + sum(1 for c in table.columns if words & set(content_words(c.name)))

    best = max(tables, key=score, default=None)
    return best if best is not None and score(best) else None


def quoted(name: str, dialect: str) -> str:
    """A name as an identifier, whatever it holds."""
    mark = "`" if dialect == "mysql" else '"'
    return mark + name.replace(mark, mark * 2) + mark


def source_of(table: Table, dialect: str) -> str:
    """The table as it stands after FROM."""
    schema = f"{quoted(table.schema, dialect)}." if table.schema else ""
    return schema + quoted(table.name, dialect)


def text_columns(table: Table, most: int = 6) -> list[Column]:
    """Columns whose values may stand in a question."""
    return [c for c in table.columns if not c.is_number and not c.is_time and _named(c)][:most]


def _named(column: Column) -> bool:
    return column.name.lower() != "id" and not column.name.lower().endswith("_id")


def build_query(
    question: str, table: Table, values: Mapping[str, Sequence[str]], dialect: str
) -> Query:
    """The query that the rules read into the question; ``values`` are those of text columns."""
    asked = _Asked(question, table, dialect)
    where, told = asked.filters(values)
    group = asked.group()
    function, column = asked.measure(grouped=group is not None)
    source = source_of(table, dialect)
    if group is None and function == "":
        sql = f"SELECT * FROM {source}{where} LIMIT {MOST}"  # noqa: S608 - names are quoted, values escaped
        return Query(sql, f"rows of {table.name}{told}")
    amount = "COUNT(*)" if column is None else f"{function}({asked.name(column.name)})"
    label = "count" if column is None else f"{_WORDS[function]} {column.name}"
    shown = asked.name(label)
    if group is None:
        sql = f"SELECT {amount} AS {shown} FROM {source}{where}"  # noqa: S608 - as above
        return Query(sql, f"{label} of {table.name}{told}")
    expression, name, over_time = group
    order = "1" if over_time and not asked.ranked() else f"2 {asked.order()}"
    sql = (
        f"SELECT {expression} AS {asked.name(name)}, {amount} AS {shown} FROM {source}{where}"  # noqa: S608 - as above
        f" GROUP BY {expression} ORDER BY {order} LIMIT {MOST}"
    )
    return Query(sql, f"{label} of {table.name} by {name}{told}", grouped=True)


@dataclass(frozen=True)
class _Asked:
    question: str
    table: Table
    dialect: str

    def name(self, text: str) -> str:
        return quoted(text, self.dialect)

    def ranked(self) -> bool:
        return bool(_HIGH.search(self.question) or _LOW.search(self.question))

    def order(self) -> str:
        return "ASC" if _LOW.search(self.question) else "DESC"

    def measure(self, *, grouped: bool) -> tuple[str, Column | None]:
        """Function and column; ("COUNT", None) counts rows, ("", None) asks for the rows."""
        column = self._number()
        mentioned = column is not None and self._mentions(column)
        if _MEAN.search(self.question) and column:
            return "AVG", column
        if _SUM.search(self.question) and column:
            return "SUM", column
        if _COUNT.search(self.question):
            return ("SUM", column) if mentioned else ("COUNT", None)
        if not grouped and column and self.ranked():
            return ("MIN" if _LOW.search(self.question) else "MAX"), column
        if grouped:
            return ("SUM", column) if column else ("COUNT", None)
        return "", None

    def _number(self) -> Column | None:
        """The numeric column that the question names, else the only one."""
        numbers = [c for c in self.table.columns if c.is_number and c.name.lower() != "year"]
        named = [c for c in numbers if self._mentions(c)]
        return named[0] if named else (numbers[0] if len(numbers) == 1 else None)

    def _mentions(self, column: Column) -> bool:
        return bool(set(content_words(self.question)) & set(content_words(column.name)))

    def group(self) -> tuple[str, str, bool] | None:
        """Expression, name, and whether it is a time."""
        for match in _GROUP.finditer(self.question):
            word = match.group(1).lower()
            for column in self.table.columns:
                stems = set(content_words(column.name))
                if not column.is_time and stems & set(content_words(word)):
                    if column is self._number():
                        continue
                    return self.name(column.name), column.name, column.name.lower() == "year"
            time = next((c for c in self.table.columns if c.is_time), None)
            unit = word.removesuffix("s")
            if time is not None and unit in _UNITS:
                return self._time(time, unit), unit, True
        return None

    def _time(self, column: Column, unit: str) -> str:
        name = self.name(column.name)
        if self.dialect == "sqlite":
            return f"strftime('{_UNITS[unit]}', {name})"
        if self.dialect == "mysql":
            return f"DATE_FORMAT({name}, '{_UNITS[unit]}')"
        pattern = {"year": "YYYY", "month": "YYYY-MM", "day": "YYYY-MM-DD"}[unit]
        return f"to_char({name}, '{pattern}')"

    def filters(self, values: Mapping[str, Sequence[str]]) -> tuple[str, str]:
        """The WHERE clause and its words; empty where the question names no value."""
        found: list[tuple[str, str]] = []
        said = f" {_words(self.question)} "
        for column, known in values.items():
            for value in known:
                plain = _words(value)
                if plain and f" {plain} " in said and plain not in self.table.name.casefold():
                    literal = "'" + value.replace("'", "''") + "'"
                    found.append((f"{self.name(column)} = {literal}", f"{column} is {value}"))
                    break
        year = _YEAR.search(self.question)
        if year:
            found += self._in_year(year.group(1))
        if not found:
            return "", ""
        return (
            f" WHERE {' AND '.join(sql for sql, _ in found)}",
            f" where {' and '.join(words for _, words in found)}",
        )

    def _in_year(self, year: str) -> list[tuple[str, str]]:
        for column in self.table.columns:
            if column.is_number and column.name.lower() == "year":
                return [(f"{self.name(column.name)} = {year}", f"{column.name} is {year}")]
            if column.is_time:
                return [(f"{self._time(column, 'year')} = '{year}'", f"the year is {year}")]
        return []


def _words(text: str) -> str:
    """Only the words, in lower case, one space between them."""
    return " ".join(re.findall(r"[^\W_]+", text.casefold()))
