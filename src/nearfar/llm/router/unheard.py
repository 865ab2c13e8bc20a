"""Calls that nobody listens to: LangChain's bookkeeping of runs, a third of a call's time, is then for nobody."""

from typing import Any
from uuid import uuid4

from langchain_core.callbacks import AsyncCallbackManager
from langchain_core.globals import get_llm_cache
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config

_FOR_LISTENERS = frozenset({"ls_structured_output_format", "structured_output_format"})
"""Options that LangChain takes out of a call again."""


def unheard(
    model: BaseChatModel,
    given: LanguageModelInput,
    config: RunnableConfig | None,
    options: dict[str, Any],
) -> list[BaseMessage] | None:
    """The messages of a call that needs nothing of ``BaseChatModel.ainvoke``; None for any other.

    It needs it where a callback, a tracer or one of the model's own settings has something to do.
    """
    if model.cache is not None or model.rate_limiter is not None or model.output_version == "v1":
        return None
    messages = _plain(given)
    if messages is None or not _FOR_LISTENERS.isdisjoint(options):
        return None
    around = ensure_config(config).get("callbacks")
    listeners = AsyncCallbackManager.configure(around, model.callbacks, model.verbose)
    return None if listeners.handlers or get_llm_cache() is not None else messages


def named(message: AIMessage) -> AIMessage:
    """With an id, as LangChain gives messages that have none."""
    message.id = message.id or f"lc_run--{uuid4()}-0"
    return message


def _plain(given: LanguageModelInput) -> list[BaseMessage] | None:
    """Messages that LangChain would hand on as they are."""
    if isinstance(given, str):
        return [HumanMessage(given)]
    if not isinstance(given, list):
        return None
    found = [m for m in given if isinstance(m, BaseMessage) and isinstance(m.content, str)]
    return found if len(found) == len(given) else None
