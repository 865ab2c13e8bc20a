"""Budgets: how much, for which period, and what then."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

from nearfar.errors import ConfigurationError

from .amounts import limit_to_nano

if TYPE_CHECKING:
    from nearfar.settings import Settings

Per = Literal["run", "day", "month", "total"]
OnExhausted = Literal["stop", "ask", "local"]


@dataclass(frozen=True)
class Budget:
    """As in the settings. ``alert_at``: shares of the limit, rising."""

    name: str
    limit_usd: Decimal
    per: Per = "day"
    on_exhausted: OnExhausted = "stop"
    max_output_tokens: int = 8192
    alert_at: tuple[float, ...] = (0.5, 0.8, 1.0)

    @property
    def limit_nano(self) -> int:
        """As the ledger counts."""
        return limit_to_nano(self.limit_usd)

    def period(self, at: float, run_id: str) -> str:
        """The period that a call at that time (seconds since 1970) belongs to."""
        if self.per == "run":
            return run_id
        if self.per == "total":
            return "total"
        day = datetime.fromtimestamp(at, UTC).date().isoformat()
        return day if self.per == "day" else day[:7]


@dataclass(frozen=True)
class Alert:
    """A share of a budget has been spent."""

    budget: str
    period: str
    share: float
    spent_usd: Decimal
    limit_usd: Decimal


def find_budget(name: str, settings: "Settings") -> Budget:
    """The budget of that name. Raises ConfigurationError."""
    found = settings.budgets.get(name)
    if found is None:
        raise ConfigurationError(
            f"There is no budget {name!r}.",
            remedy="Name one under `budgets:` in nearfar.yaml, with its limit_usd.",
            data={"budget": name, "known": sorted(settings.budgets)},
        )
    return Budget(
        name=name,
        limit_usd=found.limit_usd,
        per=found.per,
        on_exhausted=found.on_exhausted,
        max_output_tokens=found.max_output_tokens,
        alert_at=tuple(sorted(found.alert_at)),
    )


_run: ContextVar[str | None] = ContextVar("nearfar_spending_run", default=None)


@contextmanager
def spending_run(run_id: str) -> Iterator[None]:
    """Calls made in the block belong to the run ``run_id``: in the ledger, and for budgets per run."""
    token = _run.set(run_id)
    try:
        yield
    finally:
        _run.reset(token)


def current_run() -> str | None:
    """The run that calls made here belong to."""
    return _run.get()
