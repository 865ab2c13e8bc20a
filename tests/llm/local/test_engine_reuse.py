"""Reusing a state changes nothing but time: every token is what a cold start gives."""

import random
from pathlib import Path
from typing import Any

import pytest

from nearfar.llm.local.engine import Engine, GenerationRequest
from nearfar.testing.models import make_random_model

from .engine_kit import FRUIT, open_engine, request, result, until


def variant(rng: random.Random) -> dict[str, Any]:
    """Sampling, grammar and stops differ from turn to turn."""
    values: dict[str, Any] = {}
    if rng.random() < 0.5:
        values |= {"temperature": rng.choice([0.3, 1.0, 2.0]), "seed": rng.randrange(1000)}
        values |= {"top_p": rng.choice([0.8, 1.0]), "top_k": rng.choice([0, 20])}
    if rng.random() < 0.3:
        values["grammar"] = FRUIT
    if rng.random() < 0.2:
        values["repetition_penalty"] = 1.3
    if rng.random() < 0.2:
        values["stop"] = ("e",)
    return values


def interleave(warm: Engine, cold: Engine, rng: random.Random, turns: int) -> int:
    """Conversations that go on, fork, are edited and are cancelled; gives the reused tokens."""
    talks: list[list[int]] = [[rng.randrange(10, 400) for _ in range(150)]]
    reused = 0
    for _ in range(turns):
        talk = rng.choice(talks[-6:])
        prompt = talk[: rng.choice([len(talk), len(talk), rng.randint(1, len(talk))])]
        prompt = [*prompt, *(rng.randrange(10, 400) for _ in range(rng.randint(1, 90)))][-900:]
        asked = GenerationRequest(tuple(prompt), rng.randint(1, 40), **variant(rng))
        if rng.random() < 0.2:
            abandoned = warm.generate(asked)
            next(abandoned)
            abandoned.close()
        text, ids, finish = result(warm.generate(asked))
        same_text, same_ids, same = result(cold.generate(asked))
        assert (text, ids) == (same_text, same_ids)
        assert (finish.reason, finish.stop_string) == (same.reason, same.stop_string)
        assert same.usage.cached_tokens == 0
        reused += finish.usage.cached_tokens
        talks.append(prompt + ids)
    return reused


def compare(folder: Path, seed: int, turns: int) -> None:
    with (
        open_engine(folder, cache_mb=4) as warm,
        open_engine(folder, cache_mb=0) as cold,
    ):
        reused = interleave(warm, cold, random.Random(seed), turns)
        assert reused > 30 * turns
        assert warm.stats().reused_tokens >= reused


def test_any_interleaving_gives_the_tokens_of_a_cold_start(tiny_model: Path) -> None:
    compare(tiny_model, 0, 60)


def test_so_does_a_model_with_4_bit_weights(tmp_path: Path) -> None:
    folder = make_random_model(tmp_path / "int4", hidden=128, quantization="int4")
    compare(folder, 7, 40)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10))
def test_any_interleaving_gives_the_tokens_of_a_cold_start_long(
    tiny_model: Path, seed: int
) -> None:
    compare(tiny_model, seed, 600)


def test_usage_says_how_many_tokens_were_reused(random_model: Path) -> None:
    with open_engine(random_model) as engine:
        first = request(300, 10)
        _, reply, finish = result(engine.generate(first))
        assert finish.usage.cached_tokens == 0
        again = GenerationRequest((*first.prompt_ids, *reply, 9, 8, 7), 5)
        usage = result(engine.generate(again))[2].usage
        assert (usage.prompt_tokens, usage.cached_tokens) == (313, 256)
        stats = engine.stats()
        assert (stats.cache_hits, stats.reused_tokens, stats.cached_sequences) == (1, 256, 1)
        assert stats.cache_bytes > 0


def test_memory_for_states_stays_within_its_bound(tiny_model: Path) -> None:
    with open_engine(tiny_model, cache_mb=8) as engine:
        for number in range(12):
            result(engine.generate(request(400, 2, start=20 * number + 9)))
        stats = engine.stats()
    assert stats.cache_bytes <= 8 * 1024 * 1024
    assert stats.cached_sequences >= 2


def test_two_conversations_at_once_both_keep_their_state(random_model: Path) -> None:
    with open_engine(random_model) as engine:
        first, second = request(300, 200), request(300, 200, start=3)
        streams = [engine.generate(first), engine.generate(second)]
        for stream in streams:
            next(stream)
        for stream in streams:
            stream.close()
        until(lambda: engine.stats().cached_sequences == 2)
        for asked in (first, second):
            longer = GenerationRequest((*asked.prompt_ids, 5), 1)
            assert result(engine.generate(longer))[2].usage.cached_tokens == 256
