"""A chat model in the cloud: the provider's own LangChain class, held to our rules.

``FarChatModel`` wraps ChatAnthropic, ChatOpenAI, ChatGoogleGenerativeAI, ChatOllama or any other. What
it adds is the same for all: typed errors, a cut stream is an error and never an answer, usage and
metadata on one last chunk in the same words. The providers' classes keep their connections in pools
that belong to one event loop, so they all run on the loop of ``portal``, whoever calls.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.language_models.base import LangSmithParams
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableBinding
from langchain_core.tools import BaseTool
from pydantic import ConfigDict, Field, PrivateAttr, SecretStr

from .async_first import AsyncFirstChatModel
from .faults import Origin
from .portal import portal
from .reply import ReplyReader, as_chunk, joined


class FarChatModel(AsyncFirstChatModel):
    """A provider's chat model: one request for each call, no retries, typed errors."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    provider: str
    model_name: str
    api_key: SecretStr | None = Field(default=None, exclude=True, repr=False)
    """Kept out of error messages."""
    build: Callable[[], BaseChatModel] = Field(exclude=True, repr=False)
    """Makes the provider's model with its retries off; called at the first use."""
    pool: Callable[[Any], Any] = Field(exclude=True, repr=False)
    """The HTTP client of the provider's model, which keeps connections open; closed with the program."""
    _made: BaseChatModel | None = PrivateAttr(default=None)
    _lock: Any = PrivateAttr(default_factory=threading.Lock)

    @property
    def _llm_type(self) -> str:
        return f"nearfar-{self.provider}"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"provider": self.provider, **self._inner()._identifying_params}  # noqa: SLF001

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = self._inner()._get_ls_params(stop=stop, **kwargs)  # noqa: SLF001
        params["ls_model_name"] = kwargs.get("model") or self.model_name
        return params

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | dict[str, Any] | bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Offer tools, in the words of the provider's own class."""
        if tool_choice is not None:
            kwargs["tool_choice"] = tool_choice
        bound = self._inner().bind_tools(tools, **kwargs)
        if not isinstance(bound, RunnableBinding):
            return bound
        return self.bind(**bound.kwargs)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,  # noqa: ARG002  (LangChain's signature)
        **kwargs: Any,
    ) -> ChatResult:
        return await portal.acall(self._ask(messages, stop, kwargs))

    def _chunks(
        self, messages: list[BaseMessage], stop: list[str] | None, options: dict[str, Any]
    ) -> AsyncGenerator[ChatGenerationChunk, None]:
        return portal.aiterate(self._listen(messages, stop, options))

    # ------------------------------------------------------------------ on the portal's loop

    async def _ask(
        self, messages: list[BaseMessage], stop: list[str] | None, options: dict[str, Any]
    ) -> ChatResult:
        reply = ReplyReader(self._origin)
        try:
            result = await (await self._ready())._agenerate(messages, stop=stop, **options)  # noqa: SLF001
        except Exception as error:
            raise self._origin.from_exception(error, begun=False) from error
        first = result.generations[0]
        info = {**(result.llm_output or {}), **(first.generation_info or {})}
        whole = ChatGenerationChunk(message=as_chunk(first.message), generation_info=info)
        content = reply.take(whole)
        reply.check_whole()
        message = joined([part for part in (content, reply.last()) if part is not None])
        return ChatResult(generations=[ChatGeneration(message=message)])

    async def _listen(
        self, messages: list[BaseMessage], stop: list[str] | None, options: dict[str, Any]
    ) -> AsyncGenerator[ChatGenerationChunk, None]:
        reply = ReplyReader(self._origin)
        source = (await self._ready())._astream(messages, stop=stop, **options)  # noqa: SLF001
        try:
            async for generation in source:
                message = reply.take(generation)
                if message is not None:
                    yield ChatGenerationChunk(message=message)
        except Exception as error:
            raise self._origin.from_exception(error, begun=reply.begun) from error
        finally:
            await source.aclose()  # type: ignore[attr-defined]  # an async generator
        reply.check_whole()
        yield ChatGenerationChunk(message=reply.last())

    @property
    def _origin(self) -> Origin:
        secret = self.api_key.get_secret_value() if self.api_key else ""
        return Origin(self.provider, self.model_name, secret)

    async def aprepare(self) -> None:
        """Make the provider's model; importing its package takes a second, and is not done on a loop."""
        await self._ready()

    async def _ready(self) -> BaseChatModel:
        made = self._made
        return made if made is not None else await asyncio.to_thread(self._inner)

    def _inner(self) -> BaseChatModel:
        with self._lock:
            if self._made is None:
                made = self.build()
                portal.at_close(self.pool(made).aclose)
                self._made = made
            return self._made
