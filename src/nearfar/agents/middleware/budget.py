"""Pays each model call of an agent from a budget: reserved before, settled after.

The budget is one of nearfar.yaml's, or a ``Budget``; the ledger is the one that routers write.
"""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from langchain.agents.middleware import ModelRequest
from langchain.agents.middleware.types import ModelResponse
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage, UsageMetadata
from langchain_core.utils.function_calling import convert_to_openai_tool

from nearfar.errors import ConfigurationError
from nearfar.llm import chat_model
from nearfar.llm.money import Budget, Call, Held, Price, Refused, Till, current_run, find_budget
from nearfar.llm.money.estimates import output_estimate, prompt_bound
from nearfar.llm.router.router import Router
from nearfar.settings import Settings, resolve

from ._around import AroundModel, Steps, Wait, reply_of
from ._cost import names_of, price_for

_PATIENCE_S = 30.0
_PAUSE_S = 0.05
_LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens")


class BudgetMiddleware(AroundModel):
    """Raises BudgetExhaustedError before a call that the budget does not allow.

    ``on_exhausted`` of the budget: "stop" raises; "local" goes on with the built-in model; "ask"
    asks a person by a LangGraph interrupt whether the call is made all the same. ``price`` is that
    of the model, where nobody publishes one (unknown ones raise UnknownPriceError). A router pays by
    itself: it is given this budget, and must not have one of its own.
    """

    def __init__(
        self,
        budget: Budget | str,
        settings: Settings | str | Path | None = None,
        *,
        price: Price | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._settings = resolve(settings)
        self.budget = find_budget(budget, self._settings) if isinstance(budget, str) else budget
        self._till = Till(Till.open(self._settings).ledger, self.budget)
        self._price = price
        self._clock = clock

    def around_model(self, request: ModelRequest[Any]) -> Steps:
        """Reserve, call, settle."""
        if isinstance(request.model, Router):
            return (yield request.override(model=self._routed(request.model)))
        call = self._call(request)
        try:
            held: Held = yield Wait(lambda: self._reserve(call))
        except Refused as refused:
            if refused.kind == "exhausted" and self.budget.on_exhausted == "local":
                return (
                    yield request.override(model=chat_model("builtin", settings=self._settings))
                )
            if refused.kind != "exhausted" or self.budget.on_exhausted != "ask":
                raise refused.error from None
            _ask(refused)
            held = yield Wait(lambda: Till(self._till.ledger).before(call))
        return (yield from self._paid(request, held))

    def _paid(self, request: ModelRequest[Any], held: Held) -> Steps:
        if held.max_tokens is not None:
            settings = {**request.model_settings, "max_tokens": held.max_tokens}
            request = request.override(model_settings=settings)
        try:
            response: ModelResponse[Any] = yield request
        except GeneratorExit:
            held.release()
            raise
        except Exception:
            held.release()
            raise
        except BaseException:  # cancelled: the prompt was sent, and is counted as paid for
            usage, _ = self._usage(request, None)
            held.settle_soon(usage, outcome="abandoned", estimated=True)
            raise
        usage, estimated = self._usage(request, response)
        yield Wait(lambda: _settle(held, usage, estimated=estimated))
        return response

    async def _reserve(self, call: Call) -> Held:
        """Money that calls under way hold back is waited for."""
        until = self._clock() + _PATIENCE_S
        while True:
            try:
                return await self._till.before(call)
            except Refused as refused:
                if refused.kind != "busy" or self._clock() >= until:
                    raise
            await asyncio.sleep(_PAUSE_S)

    def _routed(self, router: Router) -> Router:
        own = router.till.budget if router.till else None
        if own is not None and own != self.budget:
            raise ConfigurationError(
                f"The router {router.name!r} pays from the budget {own.name!r} already.",
                remedy="Name one budget: at the router, or at the agent. Limits in USD may be both.",
                data={"router": router.name, "budget": own.name},
            )
        return router.model_copy(update={"till": self._till})

    def _call(self, request: ModelRequest[Any]) -> Call:
        provider, model = names_of(request.model)
        given = {**_own_limit(request.model), **request.model_settings}
        longest = next((given[name] for name in _LIMITS if given.get(name)), None)
        return Call(
            model=model,
            provider=provider,
            price=self._price or price_for(request.model),
            prompt_tokens=lambda: prompt_bound(_messages(request), _tools(request)),
            max_output_tokens=longest,
            run_id=current_run(),
        )

    def _usage(
        self, request: ModelRequest[Any], response: ModelResponse[Any] | None
    ) -> tuple[UsageMetadata, bool]:
        reply = reply_of(response) if response else None
        if reply is not None and reply.usage_metadata is not None:
            return reply.usage_metadata, False
        prompt = prompt_bound(_messages(request), _tools(request))
        said = output_estimate(len(str(reply.content).encode())) if reply else 0
        total = prompt + said
        return UsageMetadata(input_tokens=prompt, output_tokens=said, total_tokens=total), True


async def _settle(held: Held, usage: UsageMetadata, *, estimated: bool) -> None:
    await held.settle(usage, estimated=estimated)


def _own_limit(model: BaseChatModel) -> dict[str, Any]:
    limit = getattr(model, "max_tokens", None)
    return {"max_tokens": limit} if limit else {}


def _messages(request: ModelRequest[Any]) -> list[BaseMessage]:
    system = [request.system_message] if request.system_message else []
    return [*system, *request.messages]


def _tools(request: ModelRequest[Any]) -> list[dict[str, Any]]:
    return [convert_to_openai_tool(tool) for tool in request.tools]


def _ask(refused: Refused) -> None:
    """Goes on when a person agrees; everything else raises."""
    from langgraph.types import interrupt

    answer = interrupt(
        {
            "action_requests": [
                {
                    "name": "spend",
                    "args": {},
                    "description": f"{refused.error.message} Make it all the same?",
                }
            ],
            "review_configs": [
                {"action_name": "spend", "allowed_decisions": ["approve", "reject"]}
            ],
        }
    )
    decisions = answer.get("decisions") if isinstance(answer, dict) else None
    if not (isinstance(decisions, list) and decisions == [{"type": "approve"}]):
        raise refused.error from None
