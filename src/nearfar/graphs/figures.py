"""Text about rows: written by rules, and checked for numbers that stand in no row."""

import math
import re
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

_NUMBER = re.compile(r"(?<![\w.])-?\d[\d,]*(?:\.\d+)?(?![\w])")


def told(
    reading: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], *, compares: bool = True
) -> str:
    """What the rows say, in a sentence that holds nothing else; ``compares``: high and low too."""
    if not rows or (len(rows) == 1 and len(rows[0]) == 1 and rows[0][0] is None):
        return f"{_first(reading)}: there are no such rows."
    if len(rows) == 1 and len(columns) == 1:
        return f"{_first(reading)}: {show(rows[0][0])}."
    number = _number_column(rows, 0)
    if not compares or number is None or len(columns) < 2:
        return f"{_first(reading)}: {len(rows):,} rows."
    label = 0 if number else 1
    known = [row for row in rows if row[number] is not None]
    high = max(known, key=lambda row: row[number])
    low = min(known, key=lambda row: row[number])
    sentence = f"{_first(reading)}: highest for {high[label]} with {show(high[number])}"
    if len(known) > 1:
        sentence += f", lowest for {low[label]} with {show(low[number])}"
    return f"{sentence}; {len(rows):,} rows."


def _first(text: str) -> str:
    return text[:1].upper() + text[1:]


def show(value: Any) -> str:
    """A number with separators; everything else as it is."""
    finite = isinstance(value, int | float) and math.isfinite(value)
    if isinstance(value, bool) or not finite:
        return str(value)
    return f"{int(value):,}" if value == int(value) else f"{round(value, 4):,}"


def number_column(rows: Sequence[Sequence[Any]]) -> int | None:
    """The first column after the first that holds only numbers; None where there is none."""
    return _number_column(rows, 1)


def _number_column(rows: Sequence[Sequence[Any]], first: int) -> int | None:
    """As ``number_column``; with ``first`` 0 the first column comes last."""
    width = len(rows[0]) if rows else 0
    order: list[int] = [*range(1, width), *([0] if first == 0 else [])]
    for place in order:
        cells = [row[place] for row in rows]
        numbers = [c for c in cells if isinstance(c, int | float) and not isinstance(c, bool)]
        if numbers and len(numbers) == sum(1 for c in cells if c is not None):
            return place
    return None


def unfounded(text: str, rows: Sequence[Sequence[Any]], question: str = "") -> list[str]:
    """The numbers in a text that stand neither in the rows nor in the question.

    A number may be rounded; the count of rows, and places up to it, are known too.
    """
    known = {Decimal(len(rows))}
    for cell in [question, *(cell for row in rows for cell in row)]:
        known.update(_numbers(str(cell)) if not isinstance(cell, bool) else ())
    found = []
    for match in _NUMBER.finditer(text):
        number = _decimal(match.group())
        small = number is not None and number == int(number) and 0 <= number <= len(rows)
        if number is not None and not small and not any(_same(number, k) for k in known):
            found.append(match.group())
    return list(dict.fromkeys(found))


def _numbers(text: str) -> list[Decimal]:
    pieces = [text.strip(), *(m.group() for m in re.finditer(r"-?\d[\d,]*(?:\.\d+)?", text))]
    return [number for piece in pieces if (number := _decimal(piece)) is not None]


def _decimal(text: str) -> Decimal | None:
    try:
        number = Decimal(text.replace(",", ""))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _same(said: Decimal, real: Decimal) -> bool:
    exponent = said.as_tuple().exponent
    places = -exponent if isinstance(exponent, int) else 0
    return abs(said - real) <= Decimal(1).scaleb(-places) / 2 or abs(said) == abs(real)
