"""The chat model: LangChain's interface over a few hundred bytes of JSON."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Any, Literal

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.language_models.base import LangSmithParams
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import Field, SecretStr, model_validator

from nearfar.errors import BrokenReplyError, ContentFilteredError, UpstreamError
from nearfar.llm.async_first import AsyncFirstChatModel
from nearfar.llm.faults import Origin
from nearfar.llm.local.parameters import unknown
from nearfar.llm.reply import Ending

from .client import Endpoint
from .messages import chunk_of, message_of, to_wire, usage_of

_SENT_AS_IS = (
    "temperature",
    "top_p",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "response_format",
    "reasoning_effort",
    "user",
    "stop",
)


_TEXT_ALONE = frozenset({"content", "role"})


class OpenAIWireChatModel(AsyncFirstChatModel):
    """A chat model on any server that speaks OpenAI's chat completions.

    It sends one request for each call and never retries: retries, failover and deadlines belong to the
    router. Every fault is an ``UpstreamError``; a stream that ends without a finish reason is one too,
    so that a cut answer is never taken for a whole one. Connections are pooled for each event loop.
    """

    model: str
    """The model's id, as the server calls it."""
    base_url: str = "https://api.openai.com/v1"
    """The address that ``/chat/completions`` is put behind."""
    api_key: SecretStr | None = None
    """Sent as a bearer token; None sends none."""
    provider: str = "openai-compatible"
    """The name that stands in metadata and errors."""
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    stop: list[str] | None = None
    streaming: bool = False
    """Whether ``invoke`` streams inside, so that callbacks see tokens."""
    seed: int | None = None
    headers: dict[str, str] = Field(default_factory=dict, repr=False)
    """Further headers of each request."""
    extra_body: dict[str, Any] = Field(default_factory=dict)
    """Further fields of each request, for what one server knows and others do not."""
    connect_timeout_s: float = 10.0
    read_timeout_s: float = 60.0
    """Silence after which a request fails, in seconds; before and within the reply."""

    @model_validator(mode="before")
    @classmethod
    def _known_names(cls, values: Any) -> Any:
        """LangChain's models let unknown names pass; one that is misspelt would do nothing."""
        known = cls.model_fields.keys()
        for name in values if isinstance(values, dict) else ():
            if name not in known:
                raise unknown(name, known - BaseChatModel.model_fields.keys())
        return values

    # ------------------------------------------------------------------ LangChain's interface

    @property
    def _llm_type(self) -> str:
        return "nearfar-openai-wire"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "base_url": self.base_url,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "max_tokens": self.max_tokens,
            "seed": self.seed,
        }

    @property
    def lc_secrets(self) -> dict[str, str]:
        """No secret is ever serialised."""
        return {"api_key": "OPENAI_API_KEY"}

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop=stop, **kwargs)
        params["ls_provider"] = self.provider
        params["ls_model_name"] = kwargs.get("model") or self.model
        return params

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | dict[str, Any] | bool | None = None,
        parallel_tool_calls: bool | None = None,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Offer tools. ``tool_choice``: "auto", "none", "any" (or "required", True), a tool's name, or a dict."""
        wire = [convert_to_openai_tool(tool, strict=strict) for tool in tools]
        names = {tool["function"]["name"] for tool in wire if tool.get("type") == "function"}
        if tool_choice:
            kwargs["tool_choice"] = _wire_choice(tool_choice, names)
        if parallel_tool_calls is not None:
            kwargs["parallel_tool_calls"] = parallel_tool_calls
        return self.bind(tools=wire, **kwargs)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,  # noqa: ARG002  (LangChain's signature)
        **kwargs: Any,
    ) -> ChatResult:
        reply = await self._endpoint().post(self._body(messages, stop, kwargs))
        return self._result(reply)

    async def _chunks(
        self, messages: list[BaseMessage], stop: list[str] | None, options: dict[str, Any]
    ) -> AsyncGenerator[ChatGenerationChunk, None]:
        async with aclosing(self.arrivals(messages, stop, options)) as arrivals:
            async for arrived in arrivals:
                for message in [arrived.chunk()] if isinstance(arrived, Ending) else arrived:
                    yield ChatGenerationChunk(message=message)

    async def arrivals(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None,
        options: dict[str, Any],
        *,
        gather: bool = False,
    ) -> AsyncGenerator[list[AIMessageChunk] | Ending, None]:
        """As a stream, but chunks that arrived together come together, and the end is no chunk.

        ``gather``: their text is one chunk, for a caller who shows nobody the pieces, and would only put
        them together again.
        """
        body = self._body(messages, stop, options)
        body["stream"] = True
        body.setdefault("stream_options", {"include_usage": True})
        reading = _Reading(self._origin)
        async with aclosing(self._endpoint().stream(body)) as pieces:
            async for events in pieces:
                if found := reading.take(events, gather=gather):
                    yield found
                if reading.error is not None:
                    raise reading.error
        yield self._ending(reading)

    # ------------------------------------------------------------------ the request

    @property
    def _origin(self) -> Origin:
        secret = self.api_key.get_secret_value() if self.api_key else ""
        return Origin(self.provider, self.model, secret)

    def _endpoint(self) -> Endpoint:
        headers = {"content-type": "application/json", **self.headers}
        if self.api_key is not None:
            headers["authorization"] = f"Bearer {self.api_key.get_secret_value()}"
        return Endpoint(
            url=f"{self.base_url.rstrip('/')}/chat/completions",
            headers=headers,
            connect_s=self.connect_timeout_s,
            read_s=self.read_timeout_s,
            origin=self._origin,
        )

    def _body(
        self, messages: list[BaseMessage], stop: list[str] | None, given: dict[str, Any]
    ) -> dict[str, Any]:
        own = {
            "temperature": self.temperature,
            "top_p": self.top_p,
            "seed": self.seed,
            "stop": stop or self.stop,
        }
        body: dict[str, Any] = {
            "model": given.get("model", self.model),
            "messages": to_wire(messages),
            **{k: v for k, v in own.items() if v is not None},
            **{k: given[k] for k in _SENT_AS_IS if given.get(k) is not None},
            **self.extra_body,
            **given.get("extra_body", {}),
        }
        limit = given.get("max_tokens", self.max_tokens)
        if limit is not None:
            body[_limit_name(self.provider)] = limit
        return body

    # ------------------------------------------------------------------ the reply

    def _metadata(self, finish: str, reply: dict[str, Any]) -> dict[str, Any]:
        found = {
            "model_name": reply.get("model") or self.model,
            "finish_reason": finish,
            "provider": self.provider,
            "id": reply.get("id"),
            "system_fingerprint": reply.get("system_fingerprint"),
        }
        return {k: v for k, v in found.items() if v is not None}

    def _result(self, reply: dict[str, Any]) -> ChatResult:
        if reply.get("error"):
            raise self._origin.from_event(reply)
        choices = reply.get("choices") or []
        choice = choices[0] if isinstance(choices, list) and choices else {}
        finish, data = choice.get("finish_reason"), choice.get("message")
        if not isinstance(data, dict) or not finish:
            raise self._origin.error(BrokenReplyError, "the reply has no whole answer", "malformed")
        metadata = self._metadata(finish, reply)
        message = message_of(data, usage_of(reply.get("usage")), metadata)
        if finish == "content_filter":
            raise _filtered(self._origin, AIMessageChunk(content=message.content))
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _ending(self, reading: "_Reading") -> Ending:
        """Usage and metadata; raises when the answer is not whole."""
        if reading.finish is None:
            fault = "no_end" if reading.anything else "empty"
            words = (
                "the stream ended without its end mark" if reading.anything else "an empty stream"
            )
            raise self._origin.error(BrokenReplyError, words, fault)
        if reading.finish == "content_filter":
            raise _filtered(self._origin, None)
        return Ending(usage_of(reading.usage), self._metadata(reading.finish, reading.head))


class _Reading:
    """What has been learnt from a stream so far."""

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self.head: dict[str, Any] = {}
        self.finish: str | None = None
        self.usage: dict[str, Any] | None = None
        self.anything = False
        self.error: UpstreamError | None = None

    def take(self, events: Sequence[dict[str, Any]], *, gather: bool) -> list[AIMessageChunk]:
        """Note what events say; the chunks that they bring, up to an error among them.

        ``gather``: text alone is put together.
        """
        found: list[AIMessageChunk] = []
        text = ""
        for event in events:
            delta = self._delta(event)
            if self.error is not None:
                break
            if not delta:
                continue
            if gather and delta.keys() <= _TEXT_ALONE:
                text += delta.get("content") or ""
            elif (message := chunk_of(delta)) is not None:
                if text:
                    found.append(AIMessageChunk(content=text))
                    text = ""
                found.append(message)
        if text:
            found.append(AIMessageChunk(content=text))
        self.anything = self.anything or bool(found)
        return found

    def _delta(self, event: dict[str, Any]) -> dict[str, Any] | None:
        if event.get("error"):
            self.error = self.origin.from_event(event)
            return None
        self.head = self.head or event
        self.usage = event.get("usage") or self.usage
        choices = event.get("choices")
        if not choices:
            return None
        choice = choices[0]
        self.finish = choice.get("finish_reason") or self.finish
        delta: dict[str, Any] | None = choice.get("delta")
        return delta


def _filtered(origin: Origin, partial: AIMessageChunk | None) -> Exception:
    error = origin.error(
        ContentFilteredError,
        "the provider's content filter stopped the reply",
        "content_filter",
        reason="content_filter",
    )
    error.partial = partial
    return error


def _limit_name(provider: str) -> Literal["max_tokens", "max_completion_tokens"]:
    """OpenAI's own newer models take only the second name; compatible servers know the first."""
    return "max_completion_tokens" if provider == "openai" else "max_tokens"


def _wire_choice(
    choice: str | dict[str, Any] | Literal[True], names: set[str]
) -> str | dict[str, Any]:
    if choice is True or choice == "any":
        return "required"
    if isinstance(choice, str) and choice in names:
        return {"type": "function", "function": {"name": choice}}
    return choice
