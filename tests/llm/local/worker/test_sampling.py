"""Sampling follows its parameters, and its seed."""

from typing import Any

import numpy as np
import pytest

from nearfar.llm.local.protocol import GenerationRequest
from nearfar.llm.local.worker.sampling import NotFiniteError, Sampler, last_logits

SIZE = 5000
LOGITS = np.random.default_rng(0).normal(0, 3, SIZE).astype(np.float32)


def sampler(*, prompt: tuple[int, ...] = (1,), **values: Any) -> Sampler:
    return Sampler(GenerationRequest(prompt, 10, **values), SIZE)


def draws(count: int = 300, **values: Any) -> list[int]:
    chooser = sampler(seed=5, **values)
    return [chooser.choose(LOGITS, None) for _ in range(count)]


def test_temperature_0_takes_the_likeliest() -> None:
    assert sampler().choose(LOGITS, None) == int(LOGITS.argmax())


def test_equal_seeds_give_equal_tokens_and_others_others() -> None:
    assert draws(temperature=1) == draws(temperature=1)
    assert draws(temperature=1) != [
        Sampler(GenerationRequest((1,), 10, temperature=1, seed=6), SIZE).choose(LOGITS, None)
        for _ in range(300)
    ]


def test_without_a_seed_tokens_differ() -> None:
    first, second = sampler(temperature=2), sampler(temperature=2)
    assert [first.choose(LOGITS, None) for _ in range(50)] != [
        second.choose(LOGITS, None) for _ in range(50)
    ]


def test_a_negative_or_huge_seed_is_a_seed() -> None:
    for seed in (-1, 2**70):
        chooser = Sampler(GenerationRequest((1,), 10, temperature=1, seed=seed), SIZE)
        assert 0 <= chooser.choose(LOGITS, None) < SIZE


def test_top_k_draws_only_from_the_k_likeliest() -> None:
    best = set(np.argsort(-LOGITS)[:7].tolist())
    assert set(draws(temperature=5, top_k=7)) == best


@pytest.mark.parametrize("temperature", [0.5, 1.0, 8.0])
@pytest.mark.parametrize("top_p", [0.01, 0.5, 0.9, 0.999])
def test_top_p_draws_only_from_the_smallest_set_that_reaches_p(
    top_p: float, temperature: float
) -> None:
    scaled = LOGITS.astype(np.float64) / temperature
    shares = np.exp(scaled - scaled.max())
    shares /= shares.sum()
    order = np.argsort(-shares)
    count = int((np.cumsum(shares[order]) < top_p).sum()) + 1
    assert set(draws(temperature=temperature, top_p=top_p)) <= set(order[:count].tolist())


def test_draws_follow_the_probabilities() -> None:
    logits = np.full(SIZE, -np.inf, dtype=np.float32)
    logits[[3, 9, 40]] = np.log([0.2, 0.5, 0.3])
    chooser = sampler(temperature=1, seed=1)
    seen = np.bincount([chooser.choose(logits, None) for _ in range(4000)], minlength=SIZE) / 4000
    assert seen[[3, 9, 40]] == pytest.approx([0.2, 0.5, 0.3], abs=0.03)


def test_a_mask_leaves_only_what_it_allows() -> None:
    allowed = np.zeros(SIZE, dtype=np.uint8)
    allowed[[5, 17]] = 1
    plain: dict[str, Any] = {}
    for values in (plain, {"temperature": 3.0}, {"temperature": 3.0, "top_p": 0.5, "top_k": 40}):
        assert sampler(**values).choose(LOGITS, allowed) in (5, 17)


def test_the_penalty_counts_prompt_and_reply_and_works_on_both_signs() -> None:
    logits = np.full(SIZE, -9.0, dtype=np.float32)
    logits[[10, 11, 12]] = [2.0, 1.9, 1.8]
    chooser = sampler(prompt=(10,), repetition_penalty=1.5)
    assert [chooser.choose(logits, None) for _ in range(3)] == [11, 12, 10]
    logits[[10, 11, 12]] = [-1.0, -1.1, -1.2]
    assert sampler(prompt=(10,), repetition_penalty=1.5).choose(logits, None) == 11


def test_the_model_s_own_logits_are_not_changed() -> None:
    before = LOGITS.copy()
    draws(10, temperature=1, top_p=0.5, repetition_penalty=2)
    assert (before == LOGITS).all()


def test_numbers_that_are_none_are_an_error() -> None:
    with pytest.raises(NotFiniteError):
        sampler().choose(np.full(SIZE, np.nan, dtype=np.float32), None)


def test_last_logits_takes_the_last_row_without_padding() -> None:
    raw = np.arange(24, dtype=np.float16).reshape(1, 2, 12)
    assert last_logits(raw, 10).tolist() == list(range(12, 22))
    assert last_logits(raw, 10).dtype == np.float32
