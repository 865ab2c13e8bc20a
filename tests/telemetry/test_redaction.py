"""Secrets do not get out."""

import pytest

from nearfar.telemetry import MASK, is_secret_key, redact


@pytest.mark.parametrize(
    "name",
    ["api_key", "apikey", "API-KEY", "token", "hf_token", "db.password", "Authorization", "secret"],
)
def test_names_of_secrets(name: str) -> None:
    assert is_secret_key(name)


@pytest.mark.parametrize(
    "name", ["key", "max_tokens", "prompt_tokens", "eos_token", "keyboard", "tokenizer", "model"]
)
def test_names_of_other_things(name: str) -> None:
    assert not is_secret_key(name)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"use sk-proj-{'a1B2' * 6} now", f"use {MASK} now"),
        ("Authorization: Bearer abcdef123456", f"Authorization: Bearer {MASK}"),
        ("postgresql://me:pass@host/db", f"postgresql://{MASK}@host/db"),
        ("hf_abcdefghijklmnopqrstuv", MASK),
        ("an ordinary sentence about sk-learn and tokens", None),
        ("https://host/a@b", None),
    ],
)
def test_text_that_holds_a_key(text: str, shown: str | None) -> None:
    assert redact(text) == (text if shown is None else shown)


def test_it_goes_down_into_values_and_leaves_the_original() -> None:
    value = {"models": {"a": {"api_key": "x", "n": 1}}, "list": ["sk-abcdefghijklmnopqrst"]}
    assert redact(value) == {"models": {"a": {"api_key": MASK, "n": 1}}, "list": [MASK]}
    assert value["list"] == ["sk-abcdefghijklmnopqrst"]


def test_an_empty_secret_shows_that_it_is_empty() -> None:
    assert redact({"api_key": None, "token": ""}) == {"api_key": None, "token": ""}
