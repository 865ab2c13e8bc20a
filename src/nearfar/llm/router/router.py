"""The router: a chat model made of chat models."""

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, cast, get_args

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun
from langchain_core.language_models import LanguageModelInput
from langchain_core.language_models.base import LangSmithParams
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import ConfigDict, Field, PrivateAttr

from nearfar.errors import ContentBlockedError, InvalidParameterError, ModelNotFoundError
from nearfar.llm.async_first import AsyncFirstChatModel
from nearfar.llm.cache import Asked, Caching, ResponseCache, identity, remembered
from nearfar.llm.money import Till
from nearfar.llm.reply import joined
from nearfar.llm.screening import Screen

from .breaker import Health
from .caller import Caller, calling
from .candidate import Candidate
from .flights import flight_key, flights
from .gates import Request, is_only_far, screened
from .options import RouterOptions
from .policies import Policy, priority
from .receipt import Receipt
from .receipts import Receipts
from .rendering import is_built_in
from .replay import counted_too, taken_down
from .run import Run, admitted
from .unheard import named, unheard

if TYPE_CHECKING:
    from langchain_core.tools import BaseTool  # a large module

_LONG = 20_000
"""Letters of a request from which on it is screened in a thread."""


class Router(AsyncFirstChatModel):
    """Answers with the first of its candidates that can, and says what it did.

    Gates take out candidates that a request must not or cannot go to, the policy orders the rest, and
    one loop asks them within one deadline. A reply is whole or the call raises; its
    ``response_metadata["nearfar"]`` is the receipt, as is ``data["receipt"]`` of an error.
    ``private=True`` as an option of a call (or bound) keeps a request on this machine; ``model`` names
    the one candidate that is to be asked; ``tenant`` keeps what a cache holds for one user from others;
    ``cache="bypass"`` neither asks nor fills the cache, ``cache="refresh"`` fills it anew.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    name: str | None = "default"
    candidates: list[Candidate] = Field(repr=False, exclude=True)
    options: RouterOptions = Field(default_factory=RouterOptions)
    policy: Policy = Field(default=priority, exclude=True, repr=False)
    policy_name: str = "priority"
    till: Till | None = Field(default=None, exclude=True, repr=False)
    """Where replies are recorded and, with a budget, paid for."""
    responses: ResponseCache | None = Field(default=None, exclude=True, repr=False)
    """Answers that are kept; unlike LangChain's own ``cache`` for streams too."""
    screen: Screen | None = Field(default=None, exclude=True, repr=False)
    """Looks through requests for what keeps them near, or blocks them."""
    receipts: Receipts | None = Field(default=None, exclude=True, repr=False)
    """Where receipts are kept."""
    _rng: random.Random = PrivateAttr(default_factory=random.Random)

    @property
    def _llm_type(self) -> str:
        return "nearfar-router"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {
            "router": self.name,
            "policy": self.policy_name,
            "candidates": [(c.name, c.model_id) for c in self.candidates],
        }

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        # Not from super(), which looks for fields that a router has not, slowly and with each call.
        params = LangSmithParams(
            ls_provider="nearfar",
            ls_model_type="chat",
            ls_model_name=kwargs.get("model") or self.name or "router",
        )
        if stop:
            params["ls_stop"] = stop
        for option, name in (("temperature", "ls_temperature"), ("max_tokens", "ls_max_tokens")):
            if kwargs.get(option) is not None:
                params[name] = kwargs[option]  # type: ignore[literal-required]  # both are its keys
        return params

    def bind_tools(
        self,
        tools: "Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool]",
        *,
        tool_choice: str | dict[str, Any] | bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Offer tools to whichever candidate answers; each gets them in its provider's own words."""
        wire = [t if is_built_in(t) else convert_to_openai_tool(t) for t in tools]
        if tool_choice is not None:
            kwargs["tool_choice"] = tool_choice
        return self.bind(tools=wire, **kwargs)

    def health(self) -> dict[str, Health]:
        """What is known of each candidate's upstream, by the candidate's name."""
        return {c.name: c.breaker.health() for c in self.candidates}

    # ------------------------------------------------------------------ LangChain's four ways

    def invoke(
        self,
        input: LanguageModelInput,  # noqa: A002  (LangChain's signature)
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AIMessage:
        """As every chat model; policies see the tags, metadata and thread of ``config``."""
        with calling(config):
            return super().invoke(input, config, **kwargs)

    async def ainvoke(
        self,
        input: LanguageModelInput,  # noqa: A002  (LangChain's signature)
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AIMessage:
        """As ``invoke``."""
        with calling(config):
            messages = unheard(self, input, config, kwargs)
            if messages is None:
                return await super().ainvoke(input, config, stop=stop, **kwargs)
            return named(await self._whole(messages, stop, kwargs))

    def stream(
        self,
        input: LanguageModelInput,  # noqa: A002  (LangChain's signature)
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Iterator[AIMessageChunk]:
        """As ``invoke``, in chunks."""
        source = super().stream(input, config, **kwargs)
        with calling(config):
            first = next(source)
        yield first
        yield from source

    async def astream(
        self,
        input: LanguageModelInput,  # noqa: A002  (LangChain's signature)
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[AIMessageChunk]:
        """As ``invoke``, in chunks."""
        source = super().astream(input, config, **kwargs)
        async with aclosing(cast("AsyncGenerator[AIMessageChunk]", source)):
            with calling(config):
                first = await anext(source)
            yield first
            async for chunk in source:
                yield chunk

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,  # noqa: ARG002  (LangChain's signature)
        **kwargs: Any,
    ) -> ChatResult:
        message = await self._whole(messages, stop, kwargs)
        return ChatResult(generations=[ChatGeneration(message=message)])

    async def _whole(
        self, messages: list[BaseMessage], stop: list[str] | None, options: dict[str, Any]
    ) -> AIMessage:
        source = self._source(messages, stop, options, hold=True)
        return joined([chunk async for chunk in source])

    async def _chunks(
        self, messages: list[BaseMessage], stop: list[str] | None, options: dict[str, Any]
    ) -> AsyncGenerator[ChatGenerationChunk, None]:
        hold = self.options.midstream == "hold"
        async with aclosing(self._source(messages, stop, options, hold=hold)) as source:
            async for message in source:
                yield ChatGenerationChunk(message=message)

    def _source(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None,
        given: dict[str, Any],
        *,
        hold: bool,
    ) -> AsyncGenerator[AIMessageChunk, None]:
        """The answer's chunks: from the candidates, or from the cache if there is one."""
        options = dict(given)
        if stop:
            options["stop"] = stop
        candidates = self._named(options.pop("model", None))
        caching = _caching(options.pop("cache", None))
        caller = Caller.of(options)
        request = Request(
            messages=messages,
            tools=options.pop("tools", None) or (),
            private=caller.private,
            far=is_only_far(),
            options=options,
            tenant=options.pop("tenant", None),
            tags=caller.tags,
            label=caller.label,
            thread_id=caller.thread_id,
            priority=caller.priority,
            compact=self.options.compact,
        )
        if self.screen is not None and request.letters > _LONG:
            return self._answer_to_long(request, candidates, caching, hold=hold)
        return self._answer_to(self._screened(request), candidates, caching, hold=hold)

    async def _answer_to_long(
        self, request: Request, candidates: list[Candidate], caching: Caching, *, hold: bool
    ) -> AsyncGenerator[AIMessageChunk, None]:
        """To look through a book takes a second, which the event loop does not have."""
        looked_at = await asyncio.to_thread(self._screened, request)
        async with aclosing(self._answer_to(looked_at, candidates, caching, hold=hold)) as source:
            async for chunk in source:
                yield chunk

    def _screened(self, request: Request) -> Request:
        try:
            return screened(request, self.screen)
        except ContentBlockedError as error:
            error.data["receipt"] = self._receipt(request).to_dict()
            self._keep(error.data["receipt"])
            raise

    def _answer_to(
        self, request: Request, candidates: list[Candidate], caching: Caching, *, hold: bool
    ) -> AsyncGenerator[AIMessageChunk, None]:
        if not self.options.coalesce:
            return self._kept(request, candidates, caching, hold=hold)
        asked = self._asked(request, candidates)
        thread = request.thread_id if getattr(self.policy, "sticky", True) else None
        upstreams = [id(candidate.breaker) for candidate in candidates]
        own = (self.name, id(self.policy), self.options, upstreams)
        key = flight_key(request, asked, *own, thread, caching, hold)
        if key is None:
            return self._kept(request, candidates, caching, hold=hold)
        return flights.join(key, lambda: self._kept(request, candidates, caching, hold=hold))

    def _kept(
        self, request: Request, candidates: list[Candidate], caching: Caching, *, hold: bool
    ) -> AsyncGenerator[AIMessageChunk, None]:
        if self.responses is None:
            return self._run(request, candidates, hold=hold).chunks()
        return remembered(
            self.responses,
            self._asked(request, candidates),
            lambda: self._run(request, candidates, hold=hold).chunks(),
            self._receipts(request),
            keep=self._keep,
            caching=caching,
        )

    def _receipt(self, request: Request) -> Receipt:
        return Receipt(
            self.name or "router",
            self.policy_name,
            label=request.label,
            private=request.private,
            found=request.found,
        )

    def _receipts(self, request: Request) -> Callable[[str], dict[str, Any]]:
        """Makes the receipt of a cached answer, from who gave it once: nobody was asked now."""
        receipt = self._receipt(request)

        def make(candidate: str) -> dict[str, Any]:
            receipt.answered_by, receipt.local = candidate, True
            return receipt.to_dict()

        return make

    def _run(self, request: Request, candidates: list[Candidate], *, hold: bool) -> Run:
        receipt = self._receipt(request)
        receipt.inputs = taken_down(request, candidates)
        able = admitted(request, candidates, receipt, self._keep)
        ordered = list(self.policy(request, able))
        counted_too(receipt.inputs, request)
        if len(ordered) < len(able):
            receipt.left_out([c for c in able if c not in ordered])
        receipt.in_order(ordered, request)
        return Run(
            request,
            ordered,
            self.options,
            receipt,
            hold=hold,
            rng=self._rng,
            till=self.till,
            screen=self.screen,
            keep=self._keep,
        )

    def _keep(self, receipt: dict[str, Any]) -> None:
        if self.receipts is not None:
            self.receipts.put(receipt)

    def _asked(self, request: Request, candidates: list[Candidate]) -> Asked:
        """What makes two requests the same; tags and labels where they decide who is asked."""
        told = request.tags & getattr(self.policy, "tags", frozenset())
        if request.label is not None:
            told |= {f"label: {request.label}"}
        able = [c for c in candidates if not (request.far and c.local)]
        return Asked(
            models=[identity(c.provider, c.base_url, c.model_id, c.model) for c in able],
            messages=request.messages,
            tools=request.tools,
            options=request.options,
            tenant=request.tenant,
            private=request.private,
            tags=told,
        )

    def _named(self, model: str | None) -> list[Candidate]:
        if model is None:
            return self.candidates
        found = [c for c in self.candidates if model in (c.name, c.model_id)]
        if not found:
            raise ModelNotFoundError(
                f"The router {self.name!r} has no candidate {model!r}.",
                data={"name": model, "known": [c.name for c in self.candidates]},
            )
        return found


def _caching(said: Any) -> Caching:
    if said is None or said in get_args(Caching):
        found: Caching = said or "use"
        return found
    raise InvalidParameterError(
        f"cache must be use, refresh or bypass, not {said!r}.",
        data={"parameter": "cache", "value": str(said)},
    )
