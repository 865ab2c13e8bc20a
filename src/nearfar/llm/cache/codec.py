"""Answers as JSON and back: a closed list of classes, and nothing that could run code."""

import json
import threading
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from langchain_core.load import dumpd
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import (
    ChatGeneration,
    ChatGenerationChunk,
    Generation,
    GenerationChunk,
)

ALLOWED = (
    *(Generation, GenerationChunk, ChatGeneration, ChatGenerationChunk),
    *(AIMessage, AIMessageChunk),
)
_first = threading.Lock()


def encode(generations: Sequence[Generation]) -> str | None:
    """JSON; None for an answer that would not come back as it was."""
    plain = dumpd(list(generations))
    for one in plain:
        if "message" in one["kwargs"]:
            one["kwargs"].pop("text", None)  # it stands in the message, and is taken from there
    text = json.dumps(plain, ensure_ascii=False, separators=(",", ":"))
    return text if decode(text) == list(generations) else None


def decode(text: str) -> list[Generation] | None:
    """The answer; None for what is not JSON, or holds any other class."""
    try:
        found = _loads()(text, allowed_objects=ALLOWED)
    except (ValueError, TypeError, KeyError, AttributeError, NotImplementedError, RecursionError):
        return None
    if not isinstance(found, list) or not all(isinstance(g, Generation) for g in found):
        return None
    return found


@cache
def _loads() -> Callable[..., Any]:
    """LangChain's ``loads``, which says once in each process that it may still change."""
    from langchain_core._api import suppress_langchain_beta_warning
    from langchain_core.load import loads

    with _first, suppress_langchain_beta_warning():
        loads("null", allowed_objects=ALLOWED)
    return loads
