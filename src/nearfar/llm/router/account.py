"""What a request costs: each attempt is paid for where its router has a till."""

import asyncio
import sys
import uuid
from dataclasses import replace
from decimal import Decimal
from functools import partial
from random import Random

from langchain_core.messages import AIMessageChunk, UsageMetadata

from nearfar.errors import RouterError
from nearfar.llm.money import FREE, Call, Held, Price, Refused, Till, current_run, price_of
from nearfar.llm.money.entries import Outcome
from nearfar.llm.money.estimates import output_estimate, prompt_bound

from .attempt import Attempt
from .candidate import Candidate
from .gates import Request
from .receipt import Receipt

_LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens")
_LIMIT_OF = {"google": "max_output_tokens"}
_LEASE_BEYOND_S = 600.0
"""A caller may read the end of a stream long after the deadline."""


class Account:
    """One request's dealings with the till."""

    def __init__(
        self, till: Till | None, request: Request, receipt: Receipt, *, deadline_s: float
    ) -> None:
        self._till = till
        self._request = request
        self._receipt = receipt
        self._lease_s = deadline_s + _LEASE_BEYOND_S
        self._bound: int | None = None
        self._run_id = current_run()
        if self._run_id is None and till is not None and till.budget and till.budget.per == "run":
            self._run_id = uuid.uuid4().hex
        self.refusal: RouterError | None = None
        """Why the budget refused; the exhausted budget rather than the unknown price."""

    @property
    def only_near(self) -> bool:
        """When the budget is at its end, models on this machine go on."""
        budget = self._till.budget if self._till else None
        return budget is not None and budget.on_exhausted == "local"

    def wait_s(self, rng: Random) -> float:
        """Seconds after which to ask again for money that others hold."""
        return 0.0 if self._till is None else self._till.wait_s(self, rng)

    async def hold(self, candidate: Candidate) -> "Tab":
        """What one attempt may cost is reserved. Raises Refused."""
        if self._till is None:
            return Tab(self._request, candidate, candidate.price, None)
        call = Call(
            model=candidate.model_id,
            provider=candidate.provider,
            price=await _price(candidate),
            prompt_tokens=lambda: self._most(candidate),
            max_output_tokens=_limit(self._request, candidate),
            run_id=self._run_id,
        )
        try:
            held = await self._till.before(call, lease_s=self._lease_s)
        except Refused as refused:
            if self.refusal is None or refused.kind != "unpriced":
                self.refusal = refused.error
            if refused.kind != "busy":
                self._till.waits_no_longer(self)
            raise
        self._till.waits_no_longer(self)
        return Tab(_limited(self._request, candidate, held.max_tokens), candidate, call.price, held)

    async def pay(self, tab: "Tab", attempt: Attempt, outcome: Outcome) -> None:
        """Settle an attempt that was answered, or broke off when a part had come."""
        if outcome == "broken" and not tab.heard_bytes:
            tab.release()
            return
        usage, estimated = self._usage(tab, attempt, whole=outcome == "answered")
        if tab.held is None:
            cost = tab.cost(usage)
        else:
            # A model on this machine is known by its name, not by the folder that the settings give.
            name = attempt.reply.metadata.get("model_name") if tab.candidate.local else None
            cost = await tab.held.settle(usage, outcome=outcome, estimated=estimated, model=name)
        self._receipt.paid(cost, tab.price.source if tab.price else None)

    def abandon(self, tab: "Tab", attempt: Attempt) -> None:
        """The caller went away: the prompt, and what was produced until then, are paid for."""
        usage, estimated = self._usage(tab, attempt, whole=False)
        if tab.held is None:
            cost = tab.cost(usage)
        else:
            cost = tab.held.settle_soon(usage, outcome="abandoned", estimated=estimated)
        self._receipt.paid(cost, tab.price.source if tab.price else None)

    def _usage(self, tab: "Tab", attempt: Attempt, *, whole: bool) -> tuple[UsageMetadata, bool]:
        """What the provider says; of a reply that did not end, at least what was seen of it."""
        said = attempt.reply.usage
        seen = output_estimate(tab.heard_bytes)
        if said is not None and (whole or said["output_tokens"] >= seen):
            return said, False
        prompt = said["input_tokens"] if said else 0
        prompt = prompt or tab.candidate.count(self._request.messages, self._request.tools)
        usage = UsageMetadata(input_tokens=prompt, output_tokens=seen, total_tokens=prompt + seen)
        return usage, True

    def _most(self, candidate: Candidate) -> int:
        if self._bound is None:
            self._bound = prompt_bound(self._request.messages, self._request.tools)
        return max(self._bound, candidate.count(self._request.messages, self._request.tools))


class Tab:
    """One attempt: the request as it is sent, and what it is paid with."""

    def __init__(
        self, request: Request, candidate: Candidate, price: Price | None, held: Held | None
    ) -> None:
        self.request = request
        self.candidate = candidate
        self.price = FREE if candidate.local else price
        self.held = held
        self.heard_bytes = 0

    def hear(self, chunk: AIMessageChunk) -> None:
        """A piece of the reply has come."""
        content = chunk.content
        if isinstance(content, str):
            self.heard_bytes += len(content) if content.isascii() else len(content.encode())
        else:
            self.heard_bytes += len(str(content).encode())
        for piece in chunk.tool_call_chunks:
            self.heard_bytes += len(piece["args"] or "") + len(piece["name"] or "")

    def cost(self, usage: UsageMetadata) -> Decimal | None:
        """In USD; None where nobody knows."""
        return None if self.price is None else self.price.cost(usage)

    def release(self) -> None:
        """It cost nothing."""
        if self.held is not None:
            self.held.release()


async def _price(candidate: Candidate) -> Price | None:
    """Published prices are loaded in a thread: that takes half a second, once."""
    if candidate.local:
        return FREE
    if candidate.price is not None:
        return candidate.price
    find = partial(price_of, candidate.provider, candidate.model_id, base_url=candidate.base_url)
    return find() if "genai_prices.data" in sys.modules else await asyncio.to_thread(find)


def _limit(request: Request, candidate: Candidate) -> int | None:
    """The longest reply that the caller, or the model's own settings, allow."""
    given = next((request.options[k] for k in _LIMITS if request.options.get(k)), None)
    limit = given or getattr(candidate.model, "max_tokens", None)
    return int(limit) if limit else None


def _limited(request: Request, candidate: Candidate, max_tokens: int | None) -> Request:
    if max_tokens is None:
        return request
    name = _LIMIT_OF.get(candidate.provider, "max_tokens")
    return replace(request, options={**request.options, name: max_tokens})
