"""The router: a chat model made of chat models."""

import random
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun
from langchain_core.language_models import LanguageModelInput
from langchain_core.language_models.base import LangSmithParams
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import ConfigDict, Field, PrivateAttr

from nearfar.errors import ModelNotFoundError
from nearfar.llm.async_first import AsyncFirstChatModel
from nearfar.llm.cache import Asked, ResponseCache, identity, remembered
from nearfar.llm.money import Till
from nearfar.llm.reply import joined

from .breaker import Health
from .candidate import Candidate
from .gates import Request
from .options import RouterOptions
from .policies import Policy, priority
from .receipt import Receipt
from .run import Run, admitted


class Router(AsyncFirstChatModel):
    """Answers with the first of its candidates that can, and says what it did.

    Gates take out candidates that a request must not or cannot go to, the policy orders the rest, and
    one loop asks them within one deadline. A reply is whole or the call raises; its
    ``response_metadata["nearfar"]`` is the receipt, as is ``data["receipt"]`` of an error.
    ``private=True`` as an option of a call (or bound) keeps a request on this machine; ``model`` names
    the one candidate that is to be asked; ``tenant`` keeps what a cache holds for one user from others.
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
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | dict[str, Any] | bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Offer tools to whichever candidate answers; each gets them in its provider's own words."""
        wire = [convert_to_openai_tool(tool) for tool in tools]
        if tool_choice is not None:
            kwargs["tool_choice"] = tool_choice
        return self.bind(tools=wire, **kwargs)

    def health(self) -> dict[str, Health]:
        """What is known of each candidate's upstream, by the candidate's name."""
        return {c.name: c.breaker.health() for c in self.candidates}

    # ------------------------------------------------------------------ LangChain's four ways

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,  # noqa: ARG002  (LangChain's signature)
        **kwargs: Any,
    ) -> ChatResult:
        source = self._source(messages, stop, kwargs, hold=True)
        chunks = [chunk async for chunk in source]
        message = joined(chunks)
        return ChatResult(generations=[ChatGeneration(message=message)])

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
        tenant = options.pop("tenant", None)
        candidates = self._named(options.pop("model", None))
        request = Request(
            messages=messages,
            tools=options.pop("tools", None) or (),
            private=bool(options.pop("private", False)),
            tags=frozenset(options.pop("tags", ()) or ()),
            options=options,
        )
        if self.responses is None:
            return self._run(request, candidates, hold=hold).chunks()
        return remembered(
            self.responses,
            _asked(request, candidates, tenant),
            lambda: self._run(request, candidates, hold=hold).chunks(),
            self._receipts(),
        )

    def _receipts(self) -> Callable[[str], dict[str, Any]]:
        """Makes the receipt of a cached answer, from who gave it once: nobody was asked now."""
        receipt = Receipt(self.name or "router", self.policy_name)

        def make(candidate: str) -> dict[str, Any]:
            receipt.answered_by, receipt.local = candidate, True
            return receipt.to_dict()

        return make

    def _run(self, request: Request, candidates: list[Candidate], *, hold: bool) -> Run:
        receipt = Receipt(self.name or "router", self.policy_name)
        able = admitted(request, candidates, receipt)
        ordered = list(self.policy(request, able))
        receipt.in_order(ordered)
        return Run(
            request, ordered, self.options, receipt, hold=hold, rng=self._rng, till=self.till
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


def _asked(request: Request, candidates: list[Candidate], tenant: str | None) -> Asked:
    return Asked(
        models=[identity(c.provider, c.base_url, c.model_id, c.model) for c in candidates],
        messages=request.messages,
        tools=request.tools,
        options=request.options,
        tenant=tenant,
        private=request.private,
        tags=request.tags,
    )
