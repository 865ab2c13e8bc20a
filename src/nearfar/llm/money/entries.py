"""One line of the ledger, and how it is written."""

import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from operator import add
from typing import Literal

import orjson

from .amounts import to_nano

Outcome = Literal["answered", "abandoned", "broken", "lost"]
"""Answered; left by the caller before its end; failed when a part had come; unknown, its process died."""

_COLUMNS = """at, day, run_id, model, provider, outcome, input_tokens, output_tokens, cost_nano,
    price_source, estimated, budget, period, reservation"""
_FIELDS = ", ".join(f"json_extract(value, '$[{n}]')" for n in range(_COLUMNS.count(",") + 1))
_INSERT = f"INSERT INTO ledger_entries ({_COLUMNS}) SELECT {_FIELDS} FROM json_each(?)"  # noqa: S608  (no values in it)

_TALLY = """INSERT INTO ledger_days VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET requests = requests + excluded.requests,
        input_tokens = input_tokens + excluded.input_tokens,
        output_tokens = output_tokens + excluded.output_tokens,
        cost_nano = cost_nano + excluded.cost_nano, unpriced = unpriced + excluded.unpriced"""
_TAKE_LOST = """DELETE FROM ledger_entries WHERE reservation = ? AND outcome = 'lost'
    RETURNING day, model, input_tokens, cost_nano"""


@dataclass(frozen=True)
class Entry:
    """What a call used and cost; ``cost_usd`` is None where nobody knows the price."""

    model: str
    provider: str
    input_tokens: int
    output_tokens: int
    cost_usd: Decimal | None
    price_source: str | None = None
    outcome: Outcome = "answered"
    run_id: str | None = None
    estimated: bool = False
    """The provider did not say how many tokens there were."""
    at: float = field(default_factory=time.time)

    @property
    def cost_nano(self) -> int | None:
        """As the ledger counts."""
        return None if self.cost_usd is None else to_nano(self.cost_usd)


def insert(
    connection: sqlite3.Connection,
    entries: Sequence[Entry],
    budget: str | None = None,
    period: str | None = None,
    reservation: int | None = None,
) -> None:
    """Write lines; inside a transaction of the caller's."""
    rows = []
    days: dict[tuple[str, str], list[int]] = {}
    for e in entries:
        day, cost = datetime.fromtimestamp(e.at, UTC).date().isoformat(), e.cost_nano
        tokens = (e.input_tokens, e.output_tokens)
        about = (e.at, day, e.run_id, e.model, e.provider, e.outcome, *tokens)
        rows.append((*about, cost, e.price_source, int(e.estimated), budget, period, reservation))
        asked = e.outcome in ("answered", "abandoned")
        line = (int(asked), *tokens, cost or 0, int(cost is None))
        sums = days.get((day, e.model))
        days[day, e.model] = [*line] if sums is None else [*map(add, sums, line)]
    # One statement for all lines: each takes the interpreter from other threads, and gives it back.
    connection.execute(_INSERT, (orjson.dumps(rows).decode(),))
    for (day, model), sums in days.items():
        connection.execute(_TALLY, (day, model, *sums))


def take_lost(connection: sqlite3.Connection, reservation: int) -> int:
    """Strike the line of a call that was given up for lost; the cost it had, 0 if there is none."""
    row = connection.execute(_TAKE_LOST, (reservation,)).fetchone()
    if row is None:
        return 0
    day, model, input_tokens, cost = row
    connection.execute(_TALLY, (day, model, 0, -input_tokens, 0, -cost, 0))
    return int(cost)
