"""What calls ask of a budget, and what it grants them."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from .amounts import to_nano, to_usd
from .budgets import Budget


@dataclass(frozen=True)
class Claim:
    """What is to be reserved for a call: ``wish_usd``, or less near the end of a budget, down to ``least_usd``.

    ``prompt_usd`` is the part that is owed as soon as the prompt was sent.
    """

    model: str
    provider: str
    wish_usd: Decimal
    least_usd: Decimal
    prompt_usd: Decimal
    prompt_tokens: int
    price_source: str
    run_id: str


@dataclass(frozen=True)
class Reservation:
    """Money that only its holder may spend, until it is settled or released."""

    id: int
    budget: Budget
    period: str
    amount_usd: Decimal


@dataclass(frozen=True)
class Refusal:
    """Why nothing was reserved. "busy": what is left is reserved by calls that are under way."""

    kind: Literal["exhausted", "busy"]
    period: str
    spent_usd: Decimal
    reserved_usd: Decimal
    limit_usd: Decimal
    needed_usd: Decimal


@dataclass(frozen=True)
class Standing:
    """Where a budget stands in one period; ``limit_usd`` includes what a person allowed."""

    spent_usd: Decimal
    reserved_usd: Decimal
    limit_usd: Decimal


def grant(
    budget: Budget, claim: Claim, period: str, sums: tuple[int, int, int, float]
) -> int | Refusal:
    """How much the budget grants. Less than the wish only where the budget's end is near: what others
    have reserved but may not spend is waited for, never a reason for a shorter reply.
    """
    spent, reserved, allowed, _ = sums
    limit = budget.limit_nano + allowed
    least, wish = to_nano(claim.least_usd), to_nano(claim.wish_usd)
    granted = min(wish, limit - spent)
    if granted >= least and granted + reserved <= limit - spent:
        return granted
    return Refusal(
        kind="exhausted" if granted < least else "busy",
        period=period,
        spent_usd=to_usd(spent),
        reserved_usd=to_usd(reserved),
        limit_usd=to_usd(limit),
        needed_usd=claim.least_usd,
    )
