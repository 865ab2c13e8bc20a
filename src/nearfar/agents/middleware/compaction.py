"""Makes a conversation fit into the model's window; the thread itself is not changed.

What is left out first: results of earlier tool calls, then the oldest turns, then the oldest steps
of the turn under way, then the ends of the latest results. The instructions and the user's latest
message stay whole, and a call never stands without its result, nor a result without its call.
"""

import re
from collections.abc import Sequence
from typing import Any

from langchain.agents.middleware import ModelRequest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import (
    AIMessage,
    AnyMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

from nearfar.llm.router.router import Router

from ._around import AroundModel, Steps

LEFT_OUT = "[This result was left out to save room. Call the tool again if it is needed.]"
SHORTENED = "[... left out to save room]"
NOTE = "The beginning of this conversation was left out to save room."
UNANSWERED = "This call was stopped before its result came. What it did is not known."
_REPLY_SHARE = 4  # a quarter of the window is kept for the reply, where nothing else is said
_DATA = re.compile(r"\A(<<<data [^\n]*>>>\n)(.*?)(\n?<<<end of data [0-9a-f]+>>>)", re.DOTALL)


class CompactionMiddleware(AroundModel):
    """``max_tokens``: of instructions, messages and tools together; None: what the model's profile
    says, less a reply (its ``max_tokens``, or a quarter of the window).

    Tokens are counted by the model itself where it can (local ones exactly), else estimated. A
    model whose window nobody knows is left alone.
    """

    def __init__(self, max_tokens: int | None = None) -> None:
        super().__init__()
        self._max_tokens = max_tokens

    def around_model(self, request: ModelRequest[Any]) -> Steps:
        """Send on what fits."""
        messages = paired(request.messages)
        limit = self._max_tokens or _room(request.model)
        if limit is not None:
            system = request.system_message

            def size(few: Sequence[BaseMessage], *, noted: bool) -> int:
                head = _noted(system) if noted else system
                return count_tokens(request.model, [*([head] if head else []), *few], request.tools)

            short, dropped = _fit(messages, limit, size)
            if dropped:
                request = request.override(system_message=_noted(system))
            messages = short
        if messages != request.messages:
            request = request.override(messages=messages)
        return (yield request)


def paired(messages: Sequence[AnyMessage]) -> list[AnyMessage]:
    """Each call with a result right behind it, each result with a call: what providers insist on.

    A run that was killed, or a new message while a call waits for a person, leaves such gaps.
    """
    results = {m.tool_call_id: m for m in messages if isinstance(m, ToolMessage)}
    whole: list[AnyMessage] = []
    for message in messages:
        if isinstance(message, ToolMessage):
            continue
        whole.append(message)
        for call in message.tool_calls if isinstance(message, AIMessage) else ():
            made = results.get(call["id"] or "")
            whole.append(
                made
                or ToolMessage(
                    UNANSWERED, tool_call_id=call["id"], name=call["name"], status="error"
                )
            )
    return whole


def count_tokens(
    model: BaseChatModel, messages: Sequence[BaseMessage], tools: Sequence[Any] = ()
) -> int:
    """Tokens of a prompt: exact where the model counts its own, else estimated."""
    if isinstance(model, Router):
        from langchain_core.utils.function_calling import convert_to_openai_tool

        wire = [convert_to_openai_tool(tool) for tool in tools]
        return max(c.count(list(messages), wire) for c in model.candidates)
    if getattr(model, "supports_grammar", False):
        return model.get_num_tokens_from_messages(list(messages), list(tools))
    from langchain_core.messages.utils import count_tokens_approximately

    return count_tokens_approximately(messages, tools=list(tools) or None)


def _room(model: BaseChatModel) -> int | None:
    """Tokens that a prompt may have; a router's is that of its largest candidate."""
    if isinstance(model, Router):
        rooms = [_left(c.takes.max_input_tokens, c.model) for c in model.candidates]
        known = [room for room in rooms if room is not None]
        return max(known) if known and len(known) == len(rooms) else None
    return _left((model.profile or {}).get("max_input_tokens"), model)


def _left(window: int | None, model: BaseChatModel) -> int | None:
    if window is None:
        return None
    if not getattr(model, "supports_grammar", False):
        return window  # what providers call the longest input has no reply in it
    reply = getattr(model, "max_tokens", None) or window // _REPLY_SHARE
    return window - min(reply, window // _REPLY_SHARE)


def _noted(system: SystemMessage | None) -> SystemMessage:
    return SystemMessage(f"{system.text}\n\n{NOTE}" if system is not None else NOTE)


def _fit(messages: list[AnyMessage], limit: int, size: Any) -> tuple[list[AnyMessage], bool]:
    """The least shortened form that fits, and whether messages are missing from it."""
    if size(messages, noted=False) <= limit:
        return messages, False
    forms = _Forms(messages)
    low, high = 1, forms.most
    while low < high:  # each form is shorter than the one before
        middle = (low + high) // 2
        short, dropped = forms.at(middle)
        if size(short, noted=dropped) <= limit:
            high = middle
        else:
            low = middle + 1
    return forms.at(low)


class _Forms:
    """A conversation in ever shorter forms, numbered from 0."""

    def __init__(self, messages: list[AnyMessage]) -> None:
        self._messages = messages
        groups = _groups(messages)
        last_human = max(
            (place for place, group in enumerate(groups) if isinstance(group[0], HumanMessage)),
            default=0,
        )
        self._turns = _turns(groups[:last_human])
        self._now = groups[last_human:]
        earlier = [m for group in [*groups[:-1]] for m in group if isinstance(m, ToolMessage)]
        self._earlier = [id(m) for m in earlier if len(str(m.content)) > len(LEFT_OUT)]
        self._cuts = 12  # times that the latest results are halved
        self.most = len(self._earlier) + len(self._turns) + max(0, len(self._now) - 2) + self._cuts

    def at(self, level: int) -> tuple[list[AnyMessage], bool]:
        """The form of that number, and whether messages are missing."""
        hidden = set(self._earlier[:level])
        level = max(0, level - len(self._earlier))
        turns = self._turns[level:]
        missing = min(level, len(self._turns))
        level -= missing
        steps = min(level, max(0, len(self._now) - 2))
        level -= steps
        now = [*self._now[:1], *self._now[1 + steps :]]
        kept = [m for turn in turns for m in turn] + [m for group in now[:-1] for m in group]
        short = [_hidden(m) if id(m) in hidden else m for m in kept]
        return short + [_halved(m, level) for m in now[-1]], bool(missing or steps)


def _groups(messages: Sequence[AnyMessage]) -> list[list[AnyMessage]]:
    """A call and its results are one; everything else is by itself."""
    groups: list[list[AnyMessage]] = []
    for message in messages:
        if isinstance(message, ToolMessage) and groups:
            groups[-1].append(message)
        else:
            groups.append([message])
    return groups


def _turns(groups: Sequence[list[AnyMessage]]) -> list[list[AnyMessage]]:
    turns: list[list[AnyMessage]] = []
    for group in groups:
        if turns and not isinstance(group[0], HumanMessage):
            turns[-1].extend(group)
        else:
            turns.append(list(group))
    return turns


def _hidden(message: AnyMessage) -> AnyMessage:
    return message.model_copy(update={"content": LEFT_OUT, "artifact": None})


def _halved(message: AnyMessage, times: int) -> AnyMessage:
    """A tool's result cut to half its length so many times; marks of data stay closed."""
    if not times or not isinstance(message, ToolMessage) or not isinstance(message.content, str):
        return message
    keep = len(message.content) >> times
    marked = _DATA.match(message.content)
    if marked is None:
        return message.model_copy(update={"content": f"{message.content[:keep]}\n{SHORTENED}"})
    head, body, tail = marked.groups()
    return message.model_copy(update={"content": f"{head}{body[:keep]}\n{SHORTENED}{tail}"})
