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
    values = (
        entry.at,
        datetime.fromtimestamp(entry.at, UTC).date().isoformat(),
        entry.run_id,
        entry.model,
        entry.provider,
        entry.outcome,
        entry.input_tokens,
        entry.output_tokens,
        entry.cost_nano,
        entry.price_source,
        int(entry.estimated),
        budget,
        period,
        reservation,
    )
    connection.execute(_INSERT, values)
