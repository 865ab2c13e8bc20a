"""A chat model in the cloud: the provider's own LangChain class, held to our rules.

``FarChatModel`` wraps ChatAnthropic, ChatOpenAI, ChatGoogleGenerativeAI, ChatOllama or any other. What
it adds is the same for all: typed errors, a cut stream is an error and never an answer, usage and
metadata on one last chunk in the same words. The providers' classes keep their connections in pools
that belong to one event loop, so each loop gets a model of its own.
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
from .per_loop import PerLoop
from .reply import ReplyReader, as_chunk, joined


class FarChatModel(AsyncFirstChatModel):
    """A provider's chat model: one request for each call, no retries, typed errors."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    provider: str
    model_name: str
    api_key: SecretStr | None = Field(default=None, exclude=True, repr=False)
    """Kept out of error messages."""
    build: Callable[[], BaseChatModel] = Field(exclude=True, repr=False)
    """Makes the provider's model with its retries off and an HTTP client of its own."""
    pool: Callable[[Any], Any] = Field(exclude=True, repr=False)
    """That client, which keeps connections open; closed with its event loop."""
    _face: BaseChatModel | None = PrivateAttr(default=None)
    """Tells what the provider's class knows without asking anybody."""
    _lock: Any = PrivateAttr(default_factory=threading.Lock)
    _models: PerLoop[BaseChatModel] = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """After LangChain's own."""
        super().model_post_init(context)
        self._models = PerLoop(self._for_loop, lambda made: self.pool(made).aclose())

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
        reply = ReplyReader(self._origin)
        try:
            model = await self._models.get()
            result = await model._agenerate(messages, stop=stop, **kwargs)  # noqa: SLF001
        except Exception as error:
            raise self._origin.from_exception(error, begun=False) from error
        first = result.generations[0]
        info = {**(result.llm_output or {}), **(first.generation_info or {})}
        whole = ChatGenerationChunk(message=as_chunk(first.message), generation_info=info)
        content = reply.take(whole)
        reply.check_whole()
        message = joined([part for part in (content, reply.last()) if part is not None])
        return ChatResult(generations=[ChatGeneration(message=message)])

    async def _chunks(
        self, messages: list[BaseMessage], stop: list[str] | None, options: dict[str, Any]
    ) -> AsyncGenerator[ChatGenerationChunk, None]:
        reply = ReplyReader(self._origin)
        source = (await self._models.get())._astream(messages, stop=stop, **options)  # noqa: SLF001
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

    async def aprepare(self) -> BaseChatModel:
        """The provider's model, for a caller who reads replies by our rules; importing its package
        takes a second, and is not done on a loop.
        """
        return await self._models.get()

    async def _for_loop(self) -> BaseChatModel:
        return await asyncio.to_thread(self.build)

    def _inner(self) -> BaseChatModel:
        with self._lock:
            if self._face is None:
                self._face = self.build()
            return self._face
