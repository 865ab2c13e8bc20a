"""Dollars in the ledger are whole billionths: exact in SQLite, and a token of the cheapest model is many."""

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

NANO = Decimal(1_000_000_000)


def to_nano(usd: Decimal) -> int:
    """Rounded up: what is owed is never counted lower than it is."""
    return int((usd * NANO).to_integral_value(ROUND_CEILING))


def limit_to_nano(usd: Decimal) -> int:
    """Rounded down: a limit is never counted higher than it is."""
    return int((usd * NANO).to_integral_value(ROUND_FLOOR))


def to_usd(nano: int) -> Decimal:
    """Exact."""
    return Decimal(nano) / NANO


def dollars(nano: int) -> str:
    """For people: no zeros at the end, at least cents."""
    text = f"{to_usd(nano):.9f}".rstrip("0")
    whole, _, part = text.partition(".")
    return f"{whole}.{part:0<2}"
