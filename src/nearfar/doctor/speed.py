"""How fast a model on this machine is, by the caller's clock."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from nearfar.llm.local.engine import Engine
from nearfar.llm.local.protocol import Finish, GenerationRequest


@dataclass(frozen=True)
class Speed:
    """One generation."""

    first_token_s: float
    tokens_per_s: float  # after the first; 0 when there was only one
    tokens: int
    cached_tokens: int  # of the prompt, reused from an earlier one


def generate(engine: Engine, prompt_ids: Sequence[int], max_tokens: int) -> Speed:
    """Generate greedily and take the time."""
    begin = time.perf_counter()
    first = end = begin
    tokens = tokens_at_first = cached = 0
    for item in engine.generate(GenerationRequest(tuple(prompt_ids), max_tokens)):
        if isinstance(item, Finish):
            cached = item.usage.cached_tokens
            continue
        end = time.perf_counter()
        if not tokens:
            first, tokens_at_first = end, len(item.token_ids)
        tokens += len(item.token_ids)
    rate = (tokens - tokens_at_first) / (end - first) if end > first else 0.0
    return Speed(first - begin, rate, tokens, cached)


def made_up_prompt(engine: Engine, length: int, *, seed: int = 0) -> list[int]:
    """``length`` random tokens from the middle of the vocabulary, where special ones are rare."""
    import numpy as np

    info = engine.info()
    low, high = info.vocab_size // 10, max(2, info.vocab_size * 9 // 10)
    ids: list[int] = np.random.default_rng(seed).integers(low, high, length).tolist()
    return ids


def steady_speed(engine: Engine, *, prompt: int, tokens: int) -> Speed:
    """After a warm-up, with a prompt nobody has seen; tried again if the reply ends too early."""
    generate(engine, made_up_prompt(engine, prompt, seed=1), 4)
    runs = []
    for seed in range(2, 5):
        runs.append(generate(engine, made_up_prompt(engine, prompt, seed=seed), tokens))
        if runs[-1].tokens > tokens // 2:
            return runs[-1]
    return max(runs, key=lambda run: run.tokens)
