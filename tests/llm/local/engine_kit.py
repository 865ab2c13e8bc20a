"""What the engine's tests share: engines that are closed, prompts, waiting, and a patched library."""

import os
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from nearfar.llm.local.engine import Engine, EngineOptions, Finish, GenerationRequest, TextChunk

CPU = ("cpu",)
FRUIT = 'start: "[" ("apple" | "pear" | "plum") "]"'


@contextmanager
def open_engine(folder: Path, **options: Any) -> Iterator[Engine]:
    """An engine of its own, on the CPU unless told otherwise, closed afterwards."""
    engine = Engine(EngineOptions(folder, **{"execution_providers": CPU, **options}))
    try:
        yield engine
    finally:
        engine.close()


def request(length: int = 20, max_tokens: int = 10, *, start: int = 10, **values: Any) -> Any:
    """A request over a prompt of ``length`` different tokens."""
    ids = tuple(start + (7 * place) % 400 for place in range(length))
    return GenerationRequest(ids, max_tokens, **values)


def result(stream: Any) -> tuple[str, list[int], Finish]:
    """Text, tokens and finish of a whole stream."""
    *chunks, finish = list(stream)
    assert isinstance(finish, Finish)
    assert all(isinstance(chunk, TextChunk) for chunk in chunks)
    text = "".join(chunk.text for chunk in chunks)
    return text, [token for chunk in chunks for token in chunk.token_ids], finish


def until(condition: Callable[[], Any], timeout_s: float = 20) -> None:
    """Wait until something that another thread or process does has happened."""
    limit = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < limit, "it did not happen in time"
        time.sleep(0.005)


def patch_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Let workers run ``code`` after they import the real library as ``og``."""
    folder = tmp_path / "patched"
    folder.mkdir()
    shim = """
        import importlib, os, sys, time
        sys.path.remove(os.path.dirname(__file__))
        del sys.modules[__name__]
        og = importlib.import_module("onnxruntime_genai")
    """
    source = textwrap.dedent(shim) + textwrap.dedent(code)
    (folder / "onnxruntime_genai.py").write_text(source, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
