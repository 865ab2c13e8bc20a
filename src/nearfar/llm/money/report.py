"""What the ledger tells: tokens and dollars by model, day or run; where the budgets stand."""

import time
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

from .amounts import to_usd
from .budgets import OnExhausted, Per, find_budget

if TYPE_CHECKING:
    from nearfar.settings import Settings

    from .ledger import Ledger

By = Literal["model", "day", "run"]

_DAYS = """SELECT {key}, sum(requests), sum(input_tokens), sum(output_tokens), sum(cost_nano),
    sum(unpriced) FROM ledger_days GROUP BY 1 ORDER BY {order}"""
_RUNS = """SELECT coalesce(run_id, ''), sum(outcome IN ('answered', 'abandoned')), sum(input_tokens),
    sum(output_tokens), coalesce(sum(cost_nano), 0), sum(cost_nano IS NULL)
    FROM ledger_entries GROUP BY 1 ORDER BY max(at)"""
_QUERIES: dict[By, str] = {
    "model": _DAYS.format(key="model", order="5 DESC, 1"),
    "day": _DAYS.format(key="day", order="1"),
    "run": _RUNS,
}
_LAST_RUN = """SELECT period FROM ledger_entries WHERE budget = ? AND period IS NOT NULL
    ORDER BY id DESC LIMIT 1"""


@dataclass(frozen=True)
class Row:
    """What one model, day or run used. A broken attempt has tokens and a cost, but is no request."""

    key: str
    requests: int
    input_tokens: int
    output_tokens: int
    cost_usd: Decimal
    unpriced: int
    """Lines without a known price: they are not in ``cost_usd``."""


@dataclass(frozen=True)
class BudgetRow:
    """A budget in its current period; of one per run, the last run that used it."""

    name: str
    per: Per
    period: str | None
    on_exhausted: OnExhausted
    limit_usd: Decimal
    spent_usd: Decimal
    reserved_usd: Decimal

    @property
    def left_usd(self) -> Decimal:
        """What calls may still reserve."""
        return max(Decimal(0), self.limit_usd - self.spent_usd - self.reserved_usd)


def costs(ledger: "Ledger", by: By = "model") -> list[Row]:
    """All that the ledger knows; models by their cost, days and runs by their time."""
    rows = ledger.read(lambda c: c.execute(_QUERIES[by]).fetchall())
    return [Row(str(r[0]), r[1], r[2], r[3], to_usd(r[4]), r[5]) for r in rows]


def budgets(ledger: "Ledger", settings: "Settings", *, now: float | None = None) -> list[BudgetRow]:
    """Each budget of the settings, after dead processes have given back what they held."""
    ledger.recover()
    found = []
    for name in settings.budgets:
        budget = find_budget(name, settings)
        run = _last_run(ledger, name) if budget.per == "run" else ""
        period = budget.period(time.time() if now is None else now, run)
        standing = ledger.standing(budget, period)
        found.append(
            BudgetRow(
                name,
                budget.per,
                period or None,
                budget.on_exhausted,
                standing.limit_usd,
                standing.spent_usd,
                standing.reserved_usd,
            )
        )
    return found


def _last_run(ledger: "Ledger", name: str) -> str:
    row = ledger.read(lambda c: c.execute(_LAST_RUN, (name,)).fetchone())
    return str(row[0]) if row else ""
