"""Which execution provider runs the model: each is tried by loading it and decoding a token.

Nothing less tells the truth: ``is_..._available`` of the library answers what was compiled in.
"""

import importlib
import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from nearfar.errors import ModelLoadError, NoProviderError
from nearfar.llm.local.protocol import EngineOptions, PassedOver

from .model import LoadedModel, ModelFacts
from .sampling import last_logits

_MUST_NOT_BE_CPU = (
    "dml",
    "cuda",
)  # the library names their device; for others it is free to say CPU


def choose_provider(
    facts: ModelFacts,
    options: EngineOptions,
    skipped: dict[str, str],
    announce: Callable[[str], None],
) -> tuple[LoadedModel, list[PassedOver]]:
    """The first provider of the chain that decodes a token, and why those before it did not.

    ``skipped`` holds reasons from outside: providers that took the whole process down when they
    were tried before. ``announce`` is told of each provider before it is tried.
    """
    passed: list[PassedOver] = []
    for provider in options.execution_providers:
        reason = skipped.get(provider) or _impossible(provider)
        if reason is None:
            announce(provider)
            try:
                return _load(facts, options, provider), passed
            except Exception as error:  # noqa: BLE001 - native code; the reason is reported
                reason = _short(error)
        passed.append(PassedOver(provider, reason))
    raise _none_left(facts, passed, skipped)


def _none_left(
    facts: ModelFacts, passed: list[PassedOver], skipped: dict[str, str]
) -> ModelLoadError | NoProviderError:
    reasons = "; ".join(f"{item.provider}: {item.reason}" for item in passed)
    data = {
        "folder": str(facts.folder),
        "passed_over": [{"provider": item.provider, "reason": item.reason} for item in passed],
    }
    last = passed[-1]
    if last.provider == "cpu" and "cpu" not in skipped:  # so the fault is in the files
        return ModelLoadError(
            f"The model in {facts.folder} could not be loaded: {last.reason}", data=data
        )
    return NoProviderError(
        f"No execution provider could run the model in {facts.folder}. {reasons}", data=data
    )


def _impossible(provider: str) -> str | None:
    if provider == "dml" and sys.platform != "win32":
        return "DirectML exists only on Windows."
    return None


def _load(facts: ModelFacts, options: EngineOptions, provider: str) -> LoadedModel:
    import onnxruntime_genai as og

    if provider == "qnn":
        _register_qnn(og)
    config = og.Config(str(facts.folder))
    if options.threads is not None:
        session = {"session_options": {"intra_op_num_threads": options.threads}}
        config.overlay(json.dumps({"model": {"decoder": session}}))
    if provider not in facts.own_providers:  # else the folder's own options hold
        config.clear_providers()
        if provider != "cpu":
            config.append_provider(provider)
    model = LoadedModel(facts, og.Model(config), provider)
    if provider in _MUST_NOT_BE_CPU and model.device.upper() == "CPU":
        raise RuntimeError("The library loaded the model on the CPU instead.")
    _decode_one(model)
    return model


def _register_qnn(og: Any) -> None:
    """Newer QNN wheels bring the provider as a library of its own, to be registered first."""
    try:
        qnn = importlib.import_module("onnxruntime_qnn")
    except ImportError:
        return
    if hasattr(qnn, "get_library_path") and hasattr(og, "register_execution_provider_library"):
        og.register_execution_provider_library("QNNExecutionProvider", qnn.get_library_path())


def _decode_one(model: LoadedModel) -> None:
    facts = model.facts
    generator = model.new_generator(min(facts.usable_window, 32))
    generator.append([1, 2, 3])
    for _ in range(2):
        logits = last_logits(generator.logits(), facts.vocab_size)
        if not np.isfinite(logits).all():
            raise RuntimeError("It computed numbers that are not finite.")
        generator.append([int(logits.argmax())])


def _short(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 500 else text[:497] + "..."
