"""One line of the ledger, and how it is written."""

import sqlite3
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Literal

from .amounts import to_nano

Outcome = Literal["answered", "abandoned", "broken", "lost"]
"""Answered; left by the caller before its end; failed when a part had come; unknown, its process died."""

_INSERT = """INSERT INTO ledger_entries
    (at, day, run_id, model, provider, outcome, input_tokens, output_tokens, cost_nano,
     price_source, estimated, budget, period, reservation)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""

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
    entry: Entry,
    budget: str | None = None,
    period: str | None = None,
    reservation: int | None = None,
) -> None:
    """Write a line; inside a transaction of the caller's."""
    day = datetime.fromtimestamp(entry.at, UTC).date().isoformat()
    cost = entry.cost_nano
    values = (
        entry.at,
        day,
        entry.run_id,
        entry.model,
        entry.provider,
        entry.outcome,
        entry.input_tokens,
        entry.output_tokens,
        cost,
        entry.price_source,
        int(entry.estimated),
        budget,
        period,
        reservation,
    )
    connection.execute(_INSERT, values)
    tokens = (entry.input_tokens, entry.output_tokens)
    asked = entry.outcome in ("answered", "abandoned")
    connection.execute(
        _TALLY, (day, entry.model, int(asked), *tokens, cost or 0, int(cost is None))
    )


def take_lost(connection: sqlite3.Connection, reservation: int) -> int:
    """Strike the line of a call that was given up for lost; the cost it had, 0 if there is none."""
    row = connection.execute(_TAKE_LOST, (reservation,)).fetchone()
    if row is None:
        return 0
    day, model, input_tokens, cost = row
    connection.execute(_TALLY, (day, model, 0, -input_tokens, 0, -cost, 0))
    return int(cost)
