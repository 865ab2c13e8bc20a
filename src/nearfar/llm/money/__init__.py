"""Prices, the ledger of what was used and spent, and budgets that cannot be overspent."""

from .budgets import Alert, Budget, current_run, find_budget, spending_run
from .entries import Entry
from .ledger import Claim, Ledger, Refusal, Reservation, Standing
from .prices import FREE, Price, Rates, price_of

__all__ = [
    "FREE",
    "Alert",
    "Budget",
    "Claim",
    "Entry",
    "Ledger",
    "Price",
    "Rates",
    "Refusal",
    "Reservation",
    "Standing",
    "current_run",
    "find_budget",
    "price_of",
    "spending_run",
]
