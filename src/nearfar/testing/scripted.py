"""A chat model that says what its script says, and is strict at both ends.

A call that the script does not foresee fails, and so does a step that nobody asked for::

    with ScriptedChatModel(["Paris is the capital of France. [1]"]) as model:
        graph = build_ask(model=model, index=index)
        ...
    assert "capital" in model.calls[0].text
"""

import json
import re
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.language_models.base import LangSmithParams
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import ToolCallChunk, tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import Field, PrivateAttr

Reply = str | AIMessage | BaseException
Step = Reply | Callable[[list[BaseMessage]], Reply]

_WORD = re.compile(r"\s*\S+\s*$|\s*\S+|\s+$")


class ScriptError(AssertionError):
    """The program and the script differ: a call too many, or a step that was never asked for."""


@dataclass(frozen=True)
class Call:
    """One call as the model received it."""

    messages: tuple[BaseMessage, ...]
    stop: tuple[str, ...]
    options: dict[str, Any]  # tools, tool_choice, grammar and whatever else was bound
    streamed: bool

    @property
    def text(self) -> str:
        """The text of all messages, one after the other."""
        return "\n".join(str(message.text) for message in self.messages)


@dataclass
class _Progress:
    calls: list[Call] = field(default_factory=list)
    unexpected: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


class ScriptedChatModel(BaseChatModel):
    """Gives the replies of ``script``, one for each call, in their order.

    A step is the text of a reply, a whole ``AIMessage`` (tool calls, usage and metadata are kept),
    an exception that is raised, or a function that gets the messages and returns one of these.
    Streams come word by word; usage, where a message brings none, counts words. All copies and
    bindings of a model share one place in the script.
    """

    script: Sequence[Any] = Field(default=(), repr=False)  # of Step
    model_name: str = "scripted"
    stop: list[str] | None = None
    _progress: _Progress = PrivateAttr(default_factory=_Progress)

    def __init__(self, script: Sequence[Step] = (), **kwargs: Any) -> None:
        super().__init__(script=list(script), **kwargs)

    @property
    def calls(self) -> list[Call]:
        """The calls so far, oldest first, also those that the script did not foresee."""
        return list(self._progress.calls)

    @property
    def remaining(self) -> int:
        """How many steps have not been asked for."""
        return max(0, len(self.script) - len(self._progress.calls))

    def assert_exhausted(self) -> None:
        """Raise ``ScriptError`` unless each step was asked for, and nothing else."""
        if self._progress.unexpected:
            raise ScriptError(
                f"{self._progress.unexpected} call(s) beyond the script's {len(self.script)} step(s)"
            )
        if self.remaining:
            done = len(self._progress.calls)
            steps = ", ".join(repr(step)[:60] for step in self.script[done:])
            raise ScriptError(f"{self.remaining} step(s) were never asked for: {steps}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.assert_exhausted()

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Bind tools; they and ``tool_choice`` stand in each call's ``options``."""
        bound: dict[str, Any] = {"tools": [convert_to_openai_tool(tool) for tool in tools]}
        if tool_choice is not None:
            bound["tool_choice"] = tool_choice
        return self.bind(**bound, **kwargs)

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop=stop, **kwargs)
        params["ls_provider"] = "scripted"
        params["ls_model_name"] = kwargs.get("model", self.model_name)
        return params

    def _take(self, call: Call) -> AIMessage:
        """The reply of the next step, or the exception that it asks for."""
        progress = self._progress
        with progress.lock:
            place = len(progress.calls)
            progress.calls.append(call)
            if place >= len(self.script):
                progress.unexpected += 1
                raise ScriptError(
                    f"call {place + 1} is beyond the script's {len(self.script)} step(s): "
                    f"{call.text[-200:]!r}"
                )
            step = self.script[place]
        reply = step(list(call.messages)) if _is_function(step) else step
        if isinstance(reply, BaseException):
            raise reply
        if isinstance(reply, str):
            reply = AIMessage(reply)
        if not isinstance(reply, AIMessage):
            raise ScriptError(f"step {place + 1} gave {reply!r}, not a reply")
        return self._finished(reply, call)

    def _finished(self, reply: AIMessage, call: Call) -> AIMessage:
        text = reply.content
        if isinstance(text, str):
            cuts = [text.find(stop) for stop in call.stop if stop and stop in text]
            text = text[: min(cuts)] if cuts else text
        reason = "tool_calls" if reply.tool_calls else "stop"
        metadata = {
            "model_name": self.model_name,
            "finish_reason": reason,
            "provider": "scripted",
            **reply.response_metadata,
        }
        usage = reply.usage_metadata or _usage(call.messages, reply)
        changes = {"content": text, "response_metadata": metadata, "usage_metadata": usage}
        return reply.model_copy(update=changes)

    def _call_of(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None,
        options: dict[str, Any],
        *,
        streamed: bool,
    ) -> Call:
        return Call(tuple(messages), tuple(stop or self.stop or ()), options, streamed)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,  # noqa: ARG002 - langchain's signature
        **kwargs: Any,
    ) -> ChatResult:
        reply = self._take(self._call_of(messages, stop, kwargs, streamed=False))
        return ChatResult(generations=[ChatGeneration(message=reply)])

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,  # noqa: ARG002 - as above
        **kwargs: Any,
    ) -> ChatResult:
        return self._generate(messages, stop, **kwargs)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        reply = self._take(self._call_of(messages, stop, kwargs, streamed=True))
        for piece in _pieces(reply):
            chunk = ChatGenerationChunk(message=piece)
            if run_manager:
                run_manager.on_llm_new_token(str(piece.text), chunk=chunk)
            yield chunk

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        reply = self._take(self._call_of(messages, stop, kwargs, streamed=True))
        for piece in _pieces(reply):
            chunk = ChatGenerationChunk(message=piece)
            if run_manager:
                await run_manager.on_llm_new_token(str(piece.text), chunk=chunk)
            yield chunk


def _is_function(step: object) -> bool:
    return callable(step) and not isinstance(step, str | AIMessage | BaseException)


def _usage(messages: Sequence[BaseMessage], reply: AIMessage) -> UsageMetadata:
    """Words as tokens; a tool call counts as the words of its JSON."""
    asked = sum(len(str(message.text).split()) for message in messages)
    calls = [json.dumps({"name": call["name"], "args": call["args"]}) for call in reply.tool_calls]
    said = len(str(reply.text).split()) + sum(len(call.split()) for call in calls)
    return UsageMetadata(input_tokens=asked, output_tokens=said, total_tokens=asked + said)


def _pieces(reply: AIMessage) -> Iterator[AIMessageChunk]:
    """The message as a stream: words, then tool calls, then metadata and usage on the last."""
    if isinstance(reply.content, str):
        for match in _WORD.finditer(reply.content):
            yield AIMessageChunk(content=match.group(), id=reply.id)
    else:
        yield AIMessageChunk(content=reply.content, id=reply.id)
    for index, call in enumerate(reply.tool_calls):
        for part in _call_parts(call["name"], json.dumps(call["args"]), call["id"], index):
            yield AIMessageChunk(content="", id=reply.id, tool_call_chunks=[part])
    yield AIMessageChunk(
        content="",
        id=reply.id,
        additional_kwargs=reply.additional_kwargs,
        response_metadata=reply.response_metadata,
        usage_metadata=reply.usage_metadata,
        chunk_position="last",
    )


def _call_parts(name: str, args: str, call_id: str | None, index: int) -> list[ToolCallChunk]:
    middle = len(args) // 2
    return [
        tool_call_chunk(name=name, args="", id=call_id, index=index),
        tool_call_chunk(name=None, args=args[:middle], id=None, index=index),
        tool_call_chunk(name=None, args=args[middle:], id=None, index=index),
    ]
