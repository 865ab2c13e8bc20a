"""The models: loaded, decoding tokens, and measured. Nothing is taken from what a library claims."""

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from nearfar.errors import ModelError, ModelLoadError, NoProviderError
from nearfar.settings import Settings

from .report import Check
from .speed import generate, made_up_prompt, steady_speed

if TYPE_CHECKING:
    from nearfar.llm.local.engine import Engine, EngineOptions

BUILTIN = "builtin"
_LOAD_LIMIT_S = 120.0
_CONTEXT_BUDGET_S = 15.0
_ANSWERS = ("north-east", "south-west")
_PAIRS = ("The cat sleeps on the sofa.", "A kitten naps on the couch.", "Interest rates rose.")


def engine_options(name: str, settings: Settings) -> "EngineOptions":
    """What the engine of the model called ``name`` is started with."""
    from nearfar.llm import LocalChatModel, chat_model

    model = chat_model(name, settings=settings)
    if not isinstance(model, LocalChatModel):
        raise ModelError(f"{name} does not run on this machine, so it cannot be tried here.")
    options = model.engine.options
    return replace(options, load_timeout_s=min(options.load_timeout_s, _LOAD_LIMIT_S))


def check_providers(settings: Settings) -> Iterator[Check]:
    """Each provider of the chain runs the built-in model, or says why it cannot.

    A provider that this machine does not have is no failure while another one works.
    """
    options = engine_options(BUILTIN, settings)
    works: list[str] = []
    reasons: dict[str, str] = {}
    chain = options.execution_providers
    while chain:
        try:
            first, passed = _first_that_works(replace(options, execution_providers=chain))
        except (ModelLoadError, NoProviderError) as error:
            if not error.data.get("passed_over"):
                raise
            reasons |= {item["provider"]: item["reason"] for item in error.data["passed_over"]}
            break
        works.append(first)
        reasons |= passed
        chain = chain[chain.index(first) + 1 :]
    for provider in options.execution_providers:
        if provider in works:
            use = "in use" if provider == works[0] else f"works; {works[0]} comes before it"
            yield Check(f"provider {provider}", True, use)
        else:
            detail = f"not available: {_short(reasons.get(provider, 'not tried'))}"
            remedy = "" if works else "See docs/troubleshooting.md#nf-203."
            yield Check(f"provider {provider}", bool(works), detail, remedy)


def _first_that_works(options: "EngineOptions") -> tuple[str, dict[str, str]]:
    from nearfar.llm.local.engine import Engine

    engine = Engine(options)
    try:
        info = engine.info()
    finally:
        engine.close()
    return info.provider, {item.provider: item.reason for item in info.passed_over}


def check_model(name: str, settings: Settings) -> Iterator[Check]:
    """Load a chat model, take its time, fill its window, and force an answer."""
    from nearfar.llm.local.engine import Engine

    options = engine_options(name, settings)
    engine = Engine(options)
    try:
        info = engine.info()
        where = f"{options.model_path.name} on {info.provider}"
        memory = f"{info.rss_bytes / 2**20:.0f} MiB memory"
        yield Check(f"model {name}", True, f"{where}, loaded in {info.load_s:.1f} s, {memory}")
        speed = steady_speed(engine, prompt=min(128, info.usable_window // 2), tokens=64)
        detail = f"first token after {1000 * speed.first_token_s:.0f} ms"
        if speed.tokens_per_s:
            detail += f", then {speed.tokens_per_s:.0f} tokens/s"
        yield Check(f"speed {name}", True, detail)
        yield _context(name, engine)
        yield _grammar(name, engine)
    finally:
        engine.close()


def _context(name: str, engine: "Engine") -> Check:
    """Longer and longer prompts, until the window is full or the next would take too long."""
    window = engine.info().usable_window
    size, took = 0, 0.0
    while size < window:
        following = min(window, max(256, size * 2))
        expected = took * (following / size) ** 2 if size else 0.0
        if expected > _CONTEXT_BUDGET_S:
            detail = f"{size} of {window} tokens tried; all would take over {expected:.0f} s"
            return Check(f"context {name}", True, detail)
        size = following
        began = time.perf_counter()
        generate(engine, made_up_prompt(engine, size - 1, seed=size), 1)
        took = time.perf_counter() - began
    return Check(f"context {name}", True, f"{window} tokens, filled in {took:.1f} s")


def _grammar(name: str, engine: "Engine") -> Check:
    """That the words of an answer can be forced, on which tool calls and JSON rest."""
    from nearfar.llm.local.grammar import choice_grammar
    from nearfar.llm.local.protocol import GenerationRequest, TextChunk

    request = GenerationRequest(
        tuple(made_up_prompt(engine, 8)), max_tokens=64, grammar=choice_grammar(_ANSWERS)
    )
    text = "".join(item.text for item in engine.generate(request) if isinstance(item, TextChunk))
    if text in _ANSWERS:
        return Check(f"grammar {name}", True, "an answer was forced, and came as it was asked for")
    return Check(
        f"grammar {name}",
        False,
        "an answer could not be forced: tool calls and JSON are not reliable with this model",
        "Its tokenizer.json may not belong to it: copy the whole folder from where it is from.",
    )


def check_embeddings(name: str, settings: Settings) -> Iterator[Check]:
    """That related texts are nearer to each other than to others, and how fast it goes."""
    import numpy as np

    from nearfar.llm.embeddings import embeddings

    model = embeddings(name, settings=settings)
    vectors = np.array(model.embed_documents(list(_PAIRS)))
    near, far = float(vectors[0] @ vectors[1]), float(vectors[0] @ vectors[2])
    texts = [f"{_PAIRS[number % 3]} Number {number}." for number in range(64)]
    began = time.perf_counter()
    model.embed_documents(texts)
    rate = len(texts) / (time.perf_counter() - began)
    if np.isfinite(vectors).all() and near > far:
        detail = f"{vectors.shape[1]} dimensions, {rate:.0f} short texts/s"
        yield Check(f"embeddings {name}", True, detail)
    else:
        yield Check(
            f"embeddings {name}",
            False,
            f"texts that are alike are not nearer than others ({near:.2f} against {far:.2f})",
            "The model's files do not belong together, or it was not made for embeddings.",
        )


def _short(reason: str, limit: int = 160) -> str:
    return reason if len(reason) <= limit else reason[: limit - 3] + "..."
