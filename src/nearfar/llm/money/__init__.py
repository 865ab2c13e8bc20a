"""Prices, the ledger of what was used and spent, and budgets that cannot be overspent."""

from .budgets import Alert, Budget, current_run, find_budget, spending_run
from .claims import Claim, Refusal, Reservation, Standing
from .entries import Entry
from .ledger import Ledger
from .prices import FREE, Price, Rates, price_of
from .till import Call, Held, Refused, Till

__all__ = [
    "FREE",
    "Alert",
    "Budget",
    "Call",
    "Claim",
    "Entry",
    "Held",
    "Ledger",
    "Price",
    "Rates",
    "Refusal",
    "Refused",
    "Reservation",
    "Standing",
    "Till",
    "current_run",
    "find_budget",
    "price_of",
    "spending_run",
]
