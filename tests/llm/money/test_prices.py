"""Prices: published ones agree with genai-prices, own ones win, and the worst case is one."""

import subprocess
import sys
from decimal import Decimal

import genai_prices
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import UsageMetadata

from nearfar.llm.money import FREE, Price, Rates, price_of
from nearfar.settings import ModelSettings


def usage(prompt: int, output: int, *, read: int = 0, write: int = 0) -> UsageMetadata:
    return UsageMetadata(
        input_tokens=prompt,
        output_tokens=output,
        total_tokens=prompt + output,
        input_token_details={"cache_read": read, "cache_creation": write},
    )


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("anthropic", "claude-haiku-4-5"),
        ("anthropic", "claude-sonnet-4-5"),
        ("openai", "gpt-5-mini"),
        ("google", "gemini-2.5-flash"),
        ("google", "gemini-2.5-pro"),
    ],
)
@pytest.mark.parametrize("prompt", [0, 1_000, 200_000, 200_001, 900_000])
def test_a_published_price_costs_what_genai_prices_says(
    provider: str, model: str, prompt: int
) -> None:
    price = price_of(provider, model)
    assert price is not None
    read = prompt // 3
    theirs = genai_prices.calc_price(
        genai_prices.Usage(input_tokens=prompt, cache_read_tokens=read, output_tokens=77),
        model,
        provider_id=provider,
    )
    assert price.cost(usage(prompt, 77, read=read)) == theirs.total_price
    assert price.source.startswith("genai-prices ")


def test_a_price_in_the_settings_wins() -> None:
    own = ModelSettings.model_validate(
        {"provider": "openai", "model": "gpt-5-mini", "price": {"input": "0.2", "output": 0.6}}
    )
    price = price_of("openai", "gpt-5-mini", own.price)
    assert price == Price(Decimal("0.2"), Decimal("0.6"), source="settings")
    assert price.cost(usage(1_000_000, 1_000_000)) == Decimal("0.8")


def test_cached_tokens_cost_what_the_price_says_and_else_as_much_as_others() -> None:
    assert Price(Decimal(1), Decimal(0), Decimal("0.1")).cost(
        usage(1_000_000, 0, read=500_000)
    ) == Decimal("0.55")
    assert Price(Decimal(1), Decimal(0)).cost(usage(1_000_000, 0, read=500_000)) == 1
    assert Price(Decimal(1), Decimal(0), cache_write=Decimal(2)).cost(
        usage(1_000_000, 0, write=500_000)
    ) == Decimal("1.5")


def test_what_runs_here_is_free_and_what_nobody_knows_has_no_price() -> None:
    assert price_of("local", "builtin") is FREE
    assert FREE.is_free
    assert price_of("openai", "a-model-that-nobody-knows") is None
    assert price_of("openai-compatible", "gpt-5-mini") is None
    assert price_of("nobody", "gpt-5-mini") is None


def test_the_address_tells_whose_price_holds_for_a_compatible_model() -> None:
    address = "https://api.groq.com/openai/v1"
    price = price_of("openai-compatible", "llama-3.3-70b-versatile", base_url=address)
    assert price == price_of("groq", "llama-3.3-70b-versatile")
    assert price is not None
    there = price_of("openai-compatible", "gpt-5-mini", base_url="http://127.0.0.1:9000/v1")
    assert there is None


rates = st.decimals(0, 100, places=4)


@given(
    st.builds(
        Price,
        rates,
        rates,
        st.none() | rates,
        st.just("x"),
        st.none() | rates,
        st.just(()) | st.tuples(st.builds(Rates, rates, rates, rates, rates, st.just(500))),
    ),
    st.integers(0, 1_000),
    st.integers(0, 1_000),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_no_call_within_its_limits_costs_more_than_the_worst_case(
    price: Price, prompt: int, output: int, read: float, write: float
) -> None:
    """As long as reading from a cache is not dearer than not having one."""
    cached = int(prompt * read)
    written = int((prompt - cached) * write)
    fresh = price.rates(prompt)
    if fresh.cache_read > max(fresh.input, fresh.cache_write):
        cached = 0
    spent = price.cost(usage(prompt, output, read=cached, write=written))
    assert spent <= price.worst_case(prompt, output)


def test_looking_up_a_price_starts_no_thread_and_opens_no_connection() -> None:
    """The children of a test have no network either: an attempt would raise."""
    program = (
        "import threading\nfrom nearfar.llm.money import price_of\n"
        "assert price_of('anthropic', 'claude-haiku-4-5')\n"
        "assert threading.enumerate() == [threading.main_thread()]\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
