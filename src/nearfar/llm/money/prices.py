"""What tokens cost: the settings' own prices, else those that genai-prices knows; near costs nothing."""

import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

from langchain_core.messages import UsageMetadata

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo

MILLION = Decimal(1_000_000)
_OWN_MACHINES = frozenset({"local", "ollama"})
"""Providers that bill no tokens."""
_IDS = {"openai-compatible": None}
"""What genai-prices calls a provider, where it differs; None: only the address tells."""


class PriceOverride(Protocol):
    """What the settings of a model say about its price, in USD for a million tokens."""

    @property
    def input(self) -> Decimal: ...
    @property
    def output(self) -> Decimal: ...
    @property
    def cache_read(self) -> Decimal | None: ...


@dataclass(frozen=True)
class Rates:
    """USD for a million tokens of each kind, for prompts of at least ``start`` tokens."""

    input: Decimal
    output: Decimal
    cache_read: Decimal
    cache_write: Decimal
    start: int = 0


@dataclass(frozen=True)
class Price:
    """What a model costs, and who says so. ``tiers``: other rates for long prompts, shortest first."""

    input: Decimal
    output: Decimal
    cache_read: Decimal | None = None
    source: str = "settings"
    cache_write: Decimal | None = None
    tiers: tuple[Rates, ...] = ()

    @property
    def is_free(self) -> bool:
        """Nothing that is done with the model costs anything."""
        return not (self.input or self.output or self.cache_read or self.cache_write or self.tiers)

    def cost(self, usage: UsageMetadata) -> Decimal:
        """USD for what a provider says was used."""
        if self.is_free:
            return Decimal(0)
        details = usage.get("input_token_details") or {}
        prompt = usage["input_tokens"]
        read = min(details.get("cache_read") or 0, prompt)
        write = min(details.get("cache_creation") or 0, prompt - read)
        rates = self.rates(prompt)
        return (
            rates.input * (prompt - read - write)
            + rates.cache_read * read
            + rates.cache_write * write
            + rates.output * usage["output_tokens"]
        ) / MILLION

    def worst_case(self, prompt_tokens: int, max_output_tokens: int) -> Decimal:
        """USD that a call costs at most: nothing of the prompt is cached, and it may be written to a cache."""
        rates = self.rates(prompt_tokens)
        dearest = max(rates.input, rates.cache_write)
        return (dearest * prompt_tokens + rates.output * max_output_tokens) / MILLION

    def rates(self, prompt_tokens: int) -> Rates:
        """Those for a prompt of this length. Past a tier's start all tokens cost what it says."""
        for tier in reversed(self.tiers):
            if prompt_tokens > tier.start:
                return tier
        read = self.input if self.cache_read is None else self.cache_read
        write = self.input if self.cache_write is None else self.cache_write
        return Rates(self.input, self.output, read, write)


FREE = Price(Decimal(0), Decimal(0), source="local")
"""The price of what runs on this machine."""


def price_of(
    provider: str,
    model_id: str,
    override: PriceOverride | None = None,
    *,
    base_url: str | None = None,
) -> Price | None:
    """What a model costs now; None when nobody knows.

    An ``override`` from the settings wins. Published prices are those that come with the installed
    genai-prices (nothing is fetched); its first use loads it, about half a second.
    """
    if override is not None:
        return Price(override.input, override.output, override.cache_read)
    if provider in _OWN_MACHINES:
        return FREE if provider == "local" else Price(Decimal(0), Decimal(0), source=provider)
    return _published(provider, model_id, base_url, int(time.time() // 60))


@lru_cache(maxsize=256)
def _published(provider: str, model_id: str, base_url: str | None, minute: int) -> Price | None:
    """By the minute, because some prices depend on the time of day."""
    from genai_prices import __version__

    model = _find(provider, model_id, base_url)
    if model is None:
        return None
    prices = model.get_prices(datetime.fromtimestamp(minute * 60, UTC))
    rates = {
        kind: getattr(prices, f"{kind}_mtok", None)
        for kind in ("input", "output", "cache_read", "cache_write")
    }
    if rates["input"] is None or rates["output"] is None:
        return None
    base = _at(rates, None)
    return Price(
        base.input,
        base.output,
        base.cache_read,
        f"genai-prices {__version__}",
        base.cache_write,
        tuple(_at(rates, start) for start in _starts(rates)),
    )


def _find(provider: str, model_id: str, base_url: str | None) -> "ModelInfo | None":
    from genai_prices.data_snapshot import get_snapshot

    known = get_snapshot()
    identity = _IDS.get(provider, provider)
    if identity is None:
        # An address is compared as its provider's own pattern asks; no address, no provider.
        places = [p for p in known.providers if base_url and re.match(p.api_pattern, base_url)]
        identity = places[0].id if places else None
    if identity is None:
        return None
    try:
        return known.find_provider_model(model_id, None, identity, None)[1]
    except LookupError:
        return None


def _starts(rates: dict[str, Any]) -> list[int]:
    found = {tier.start for rate in rates.values() for tier in getattr(rate, "tiers", ())}
    return sorted(found)


def _at(rates: dict[str, Any], start: int | None) -> Rates:
    """The rates in force for prompts just longer than ``start``."""

    def one(kind: str) -> Decimal:
        rate = rates[kind] if rates[kind] is not None else rates["input"]
        if not hasattr(rate, "tiers"):
            return Decimal(rate)
        value = rate.base
        for tier in rate.tiers:
            if start is not None and start >= tier.start:
                value = tier.price
        return Decimal(value)

    return Rates(
        one("input"), one("output"), one("cache_read"), one("cache_write"), start=start or 0
    )
