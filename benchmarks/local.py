"""The local engine against the bare onnxruntime-genai loop, on one random-weight model, in one run.

    python benchmarks/local.py [--json] [--quick] [--rounds N]

Both sides get the same prompts in turn, so that whatever else the machine does meets both alike.
Every prompt is random and used once, unless the point is that it is used twice.
"""

import argparse
import asyncio
import itertools
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _bare import Bare, gaps_while
from _report import Row, median, quantile, show
from nearfar.llm.local.engine import Engine

from nearfar.llm.local.protocol import EngineOptions, Finish, GenerationRequest, TextChunk
from nearfar.testing.models import make_random_model

FULL = {
    "layers": 12,
    "hidden": 768,
    "heads": 12,
    "kv_heads": 4,
    "intermediate": 2048,
    "vocab_size": 32_000,
    "context_length": 4096,
    "quantization": "int4",
    "prune_lm_head": True,
}
QUICK = {"layers": 2, "hidden": 64, "context_length": 4096, "quantization": "int4"}


@dataclass(frozen=True)
class Run:
    """One generation, by the caller's clock."""

    first_token_s: float
    tokens_per_s: float
    tokens: tuple[int, ...]
    cached: int


class Bench:
    """Holds the two sides and hands out prompts that nobody has seen."""

    def __init__(self, folder: Path, *, vocab_size: int, rounds: int) -> None:
        self.engine = Engine(EngineOptions(model_path=folder))
        self.bare = Bare(folder)
        self.rounds = rounds
        self._rng = np.random.default_rng(7)
        self._vocab_size = vocab_size

    def prompt(self, length: int) -> list[int]:
        ids: list[int] = self._rng.integers(300, self._vocab_size, length).tolist()
        return ids

    def run(self, ids: list[int], tokens: int) -> Run:
        begin = time.perf_counter()
        first = end = begin
        seen: list[int] = []
        at_first = cached = 0
        for item in self.engine.generate(GenerationRequest(tuple(ids), tokens)):
            now = time.perf_counter()
            if isinstance(item, TextChunk):
                if not seen:
                    first, at_first = now, len(item.token_ids)
                seen += item.token_ids
                end = now
            else:
                cached = item.usage.cached_tokens
        rate = (len(seen) - at_first) / (end - first) if end > first else 0.0
        return Run(first - begin, rate, tuple(seen), cached)

    def close(self) -> None:
        self.engine.close()
        self.bare.close()


def against_bare(bench: Bench, *, prompt: int, tokens: int) -> tuple[list[Row], dict[str, Any]]:
    """Tokens per second, and time to the first token, side by side."""
    ours: list[Run] = []
    bare: list[dict[str, Any]] = []
    for number in range(bench.rounds + 1):
        ids = bench.prompt(prompt)
        if number % 2:
            ours.append(bench.run(ids, tokens))
        bare.append(bench.bare.run(ids, tokens))
        if not number % 2:
            ours.append(bench.run(ids, tokens))
    ours, bare = ours[1:], bare[1:]  # the first round warms up
    same = all(list(a.tokens) == b["tokens"] for a, b in zip(ours, bare, strict=True))
    our_rate = median(run.tokens_per_s for run in ours)
    bare_rate = median((len(run["tokens"]) - 1) / run["decode_s"] for run in bare)
    our_first = median(run.first_token_s for run in ours)
    bare_first = median(run["first_token_s"] for run in bare)
    rows = [
        Row("tokens/s", our_rate, "1/s"),
        Row("tokens/s, bare loop", bare_rate, "1/s"),
        Row("tokens/s, ratio", our_rate / bare_rate, "", 0.95, at_most=False),
        Row(f"first token, {prompt} in", 1000 * our_first, "ms"),
        Row(f"first token, {prompt} in, bare loop", 1000 * bare_first, "ms"),
        Row("first token, difference", 1000 * (our_first - bare_first), "ms", 10),
    ]
    return rows, {"same_tokens": same, "ours": [run.tokens_per_s for run in ours]}


def second_turn(bench: Bench, *, prefix: int) -> list[Row]:
    """The first token of a second turn that repeats a long prefix, against the cold one."""
    cold, warm, reused = [], [], []
    for _ in range(bench.rounds):
        ids = bench.prompt(prefix)
        first = bench.run(ids, 16)
        second = bench.run([*ids, *first.tokens, *bench.prompt(24)], 16)
        cold.append(first.first_token_s)
        warm.append(second.first_token_s)
        reused.append(second.cached)
    note = f"{median(reused):.0f} tokens reused"
    return [
        Row(f"cold first token, {prefix} in", 1000 * median(cold), "ms"),
        Row("second turn's first token", 1000 * median(warm), "ms", note=note),
        Row("second turn / cold", median(warm) / median(cold), "", 0.12),
    ]


def event_loop(bench: Bench, *, prompt: int) -> list[Row]:
    """How long an asyncio loop is kept waiting while a prompt is prefilled."""

    async def prefill() -> None:
        request = GenerationRequest(tuple(bench.prompt(prompt)), 1)
        async for _ in bench.engine.agenerate(request):
            pass

    gaps = [gap for _ in range(bench.rounds) for gap in asyncio.run(gaps_while(prefill()))]
    thread = [gap for _ in range(bench.rounds) for gap in bench.bare.stall(bench.prompt(prompt))]
    return [
        Row(f"event loop stall p99, {prompt} in", 1000 * quantile(gaps, 0.99), "ms", 10),
        Row("event loop stall, longest", 1000 * max(gaps), "ms"),
        Row("event loop stall, longest, generator in a thread", 1000 * max(thread), "ms"),
    ]


def late_request(bench: Bench, *, prompt: int) -> list[Row]:
    """The first token of a request that joins another that is being generated."""
    alone, late = [], []
    for _ in range(bench.rounds):
        alone.append(bench.run(bench.prompt(prompt), 4).first_token_s)
        running = bench.engine.generate(GenerationRequest(tuple(bench.prompt(64)), 600))
        _take(running, 10)
        late.append(bench.run(bench.prompt(prompt), 4).first_token_s)
        running.close()
    return [
        Row(f"first token alone, {prompt} in", 1000 * median(alone), "ms"),
        Row("first token, joining another", 1000 * median(late), "ms"),
        Row("joining / alone", median(late) / median(alone), "", 2.5),
    ]


def _take(stream: Iterator[TextChunk | Finish], count: int) -> None:
    for _ in itertools.islice(stream, count):
        pass


def measure(*, quick: bool, rounds: int) -> tuple[list[Row], dict[str, Any]]:
    sizes: dict[str, Any] = QUICK if quick else FULL
    short = 4 if quick else 1  # divides the lengths
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        make_random_model(folder, **sizes)
        bench = Bench(Path(folder), vocab_size=sizes.get("vocab_size", 512), rounds=rounds)
        try:
            rows, data = against_bare(bench, prompt=768 // short, tokens=128 // short)
            rows += second_turn(bench, prefix=2000 // short)
            rows += event_loop(bench, prompt=768 // short)
            rows += late_request(bench, prompt=256 // short)
            data |= {"provider": bench.engine.info().provider, "model": sizes, "rounds": rounds}
        finally:
            bench.close()
    return rows, data


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="a tiny model: does it run at all")
    parser.add_argument("--rounds", type=int, default=None, help="how often each thing is measured")
    options = parser.parse_args()
    rounds = options.rounds or (2 if options.quick else 7)
    rows, data = measure(quick=options.quick, rounds=rounds)
    show("The local engine and the bare loop", rows, as_json=options.json, data=data)


if __name__ == "__main__":
    main()
