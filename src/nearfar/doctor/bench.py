"""What `nearfar bench` measures on the user's machine, with the user's model."""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings

from nearfar.settings import Settings

from .models import engine_options
from .samples import Prose
from .speed import generate, made_up_prompt, steady_speed


@dataclass(frozen=True)
class Measurement:
    """One figure."""

    name: str
    value: float
    unit: str
    detail: str = ""


@dataclass(frozen=True)
class Sizes:
    """How much work each measurement does."""

    repeats: int = 3
    prompts: tuple[int, ...] = (64, 256, 1024, 4096)
    tokens: int = 128
    prefix: int = 2000
    passages: int = 200
    documents: int = 60
    chunks: int = 20_000
    queries: int = 50


QUICK = Sizes(1, (64, 256), 32, 400, 24, 4, 500, 10)

Measured = Iterator[Measurement]


def bench(
    settings: Settings, *, model: str, sizes: Sizes, on_start: Callable[[str], None] | None = None
) -> Measured:
    """Measure everything, one after the other, yielding each figure when it is there."""
    steps: list[tuple[str, Callable[[], Measured]]] = [
        (f"model {model}", lambda: bench_model(model, settings, sizes)),
        ("embeddings", lambda: bench_embeddings(settings, sizes)),
        ("documents", lambda: bench_documents(settings, sizes)),
        ("retrieval", lambda: bench_retrieval(sizes)),
    ]
    for name, step in steps:
        if on_start:
            on_start(f"measuring {name}")
        yield from step()


def bench_model(name: str, settings: Settings, sizes: Sizes) -> Measured:
    """Load, first token by length of the prompt, tokens per second, a second turn."""
    from nearfar.llm.local.engine import Engine

    options = engine_options(name, settings)
    engine = Engine(options)
    try:
        info = engine.info()
        yield Measurement("load", info.load_s, "s", f"{options.model_path.name}, {info.provider}")
        steady_speed(engine, prompt=16, tokens=4)
        seeds = iter(range(1000, 2000))
        for length in sizes.prompts:
            if length + 1 > info.usable_window:
                break
            times = [
                generate(engine, made_up_prompt(engine, length, seed=next(seeds)), 1).first_token_s
                for _ in range(sizes.repeats)
            ]
            yield Measurement("first token", statistics.median(times), "s", f"{length} tokens in")
        half = info.usable_window // 2
        runs = [
            steady_speed(engine, prompt=min(64, half), tokens=min(sizes.tokens, half))
            for _ in range(sizes.repeats)
        ]
        yield Measurement("tokens", statistics.median(run.tokens_per_s for run in runs), "1/s")
        prefix = min(sizes.prefix, info.usable_window - 64)
        if prefix > 0:
            yield from _second_turn(engine, prefix, [next(seeds) for _ in range(sizes.repeats)])
    finally:
        engine.close()


def _second_turn(engine: Any, prefix: int, seeds: list[int]) -> Measured:
    cold, warm = [], []
    for seed in seeds:
        prompt = made_up_prompt(engine, prefix, seed=seed)
        cold.append(generate(engine, prompt, 1).first_token_s)
        longer = [*prompt, *made_up_prompt(engine, 24, seed=seed + 5000)]
        warm.append(generate(engine, longer, 1))
    again = statistics.median(run.first_token_s for run in warm)
    share = again / statistics.median(cold)
    detail = f"{share:.0%} of the first turn; {warm[-1].cached_tokens} of {prefix} tokens reused"
    yield Measurement("second turn", again, "s", detail)


def bench_embeddings(settings: Settings, sizes: Sizes) -> Measured:
    """Passages of about a hundred words."""
    from nearfar.llm.embeddings import embeddings

    model, prose = embeddings(settings=settings), Prose()
    model.embed_documents([prose.passage()])
    passages = [prose.passage() for _ in range(sizes.passages)]
    began = time.perf_counter()
    model.embed_documents(passages)
    rate = len(passages) / (time.perf_counter() - began)
    yield Measurement("embeddings", rate, "1/s", "passages of 100 words")
    times = []
    for _ in range(max(5, sizes.queries // 5)):
        question = prose.sentence()
        began = time.perf_counter()
        model.embed_query(question)
        times.append(time.perf_counter() - began)
    yield Measurement("question", statistics.median(times), "s", "12 words, embedded")


def bench_documents(settings: Settings, sizes: Sizes) -> Measured:
    """Read, split, embed and store; then nothing, because nothing has changed."""
    from nearfar.retrieval.index import Index

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        documents = Path(folder) / "documents"
        list(Prose(1).documents(documents, sizes.documents))
        index = Index.at(Path(folder) / "index", "bench", settings=settings)
        began = time.perf_counter()
        report = index.add([documents])
        rate = sizes.documents / (time.perf_counter() - began)
        detail = f"600 words each, {report.chunks} passages"
        yield Measurement("documents indexed", rate, "1/s", detail)
        began = time.perf_counter()
        index.add([documents])
        again = time.perf_counter() - began
        yield Measurement("index again", again, "s", "nothing had changed")


def bench_retrieval(sizes: Sizes) -> Measured:
    """Search made-up vectors and words, without embedding the question."""
    from nearfar.retrieval.hybrid import HybridRetriever
    from nearfar.retrieval.store import FaissStore

    prose, vectors = Prose(2), _RandomVectors()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        store = FaissStore(vectors, path=Path(folder) / "store")
        try:
            for start in range(0, sizes.chunks, 5000):
                count = min(5000, sizes.chunks - start)
                texts = [prose.passage(4) for _ in range(count)]
                documents = [Document(text, metadata={"source": "made up"}) for text in texts]
                store.add_vectors(documents, vectors.draw(count))
            retriever = HybridRetriever(store=store)
            retriever.rank("warm up")
            times = []
            for _ in range(sizes.queries):
                question = " ".join(prose.words(8))
                began = time.perf_counter()
                retriever.rank(question)
                times.append(time.perf_counter() - began)
        finally:
            store.close()
    p50, p95 = statistics.median(times), sorted(times)[int(0.95 * len(times))]
    detail = f"{sizes.chunks} passages; 95 % within {1000 * p95:.1f} ms"
    yield Measurement("retrieval", p50, "s", detail)


class _RandomVectors(Embeddings):
    """Directions without meaning, as many numbers as the built-in model has."""

    def __init__(self, dimensions: int = 384) -> None:
        self._rng = np.random.default_rng(3)
        self._dimensions = dimensions

    def draw(self, count: int) -> Any:
        vectors = self._rng.standard_normal((count, self._dimensions), dtype=np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        drawn: list[list[float]] = self.draw(len(texts)).tolist()
        return drawn

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]
