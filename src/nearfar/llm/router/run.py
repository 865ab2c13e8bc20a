"""One request from its gates to its answer: the only place that retries."""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage

from nearfar.errors import (
    AllCandidatesFailedError,
    BrokenReplyError,
    ContentBlockedError,
    DeadlineExceededError,
    ModelError,
    NearfarError,
    NoCandidateError,
    RouterBusyError,
    RouterError,
    UpstreamError,
)
from nearfar.llm.money import Refused, Till
from nearfar.llm.screening import Screen

from .account import Account, Tab
from .attempt import Attempt, Limits
from .backoff import backoff_s
from .candidate import Candidate
from .continuation import Disagreement, Sent
from .gates import GATES, Request, goes_on
from .place import Place
from .receipt import Receipt
from .rendering import rendered
from .slots import Ticket
from .verdicts import Rule, Verdict, rule_for

if TYPE_CHECKING:
    from .options import RouterOptions

Keep = Callable[[dict[str, Any]], None]
"""Stores a receipt."""


class Run:
    """Asks candidates until one has answered, within one deadline."""

    def __init__(
        self,
        request: Request,
        candidates: Sequence[Candidate],
        options: "RouterOptions",
        receipt: Receipt,
        *,
        hold: bool,
        rng: random.Random,
        till: Till | None = None,
        screen: Screen | None = None,
        keep: Keep,
    ) -> None:
        self.request = request
        self.options = options
        self.receipt = receipt
        self.sent = Sent(hold=hold)
        self._rng = rng
        self._screen = screen
        self._keep = keep
        self._account = Account(till, request, receipt, deadline_s=options.deadline_s)
        self._faults: list[NearfarError] = []
        self._places = [Place(c) for c in candidates]
        loop = asyncio.get_running_loop()
        self._deadline = loop.time() + options.deadline_s

    async def chunks(self) -> AsyncGenerator[AIMessageChunk, None]:
        """Content as it comes, then one last chunk with usage, metadata and the receipt."""
        try:
            while True:
                place = await self._next()
                tab = await self._hold(place)
                if tab is None:
                    continue
                attempt = self._attempt(place, tab)
                try:
                    async with aclosing(attempt.arrivals(self._messages(place))) as arrivals:
                        async for arrived in arrivals:
                            for chunk in arrived:
                                tab.hear(chunk)
                                for out in self.sent.take(chunk):
                                    yield out
                    for chunk in self.sent.finish():
                        yield chunk
                except (Disagreement, NearfarError) as error:
                    await self._account.pay(tab, attempt, "broken")
                    self._failed(place, attempt, _typed(error, place))
                except BaseException:
                    self._account.abandon(tab, attempt)
                    self.receipt.tried(attempt, "abandoned")
                    place.forget()
                    raise
                else:
                    await self._account.pay(tab, attempt, "answered")
                    yield self._answered(place, attempt)
                    return
                finally:
                    place.candidate.active -= 1
                    place.leave()
        except (asyncio.CancelledError, GeneratorExit):
            if self.receipt.answered_by is None:
                self._keep(self.receipt.to_dict())
            raise

    def _messages(self, place: Place) -> list[BaseMessage]:
        """The conversation as this candidate gets it, with what was sent of the answer where it reads on."""
        candidate = place.candidate
        messages = self.sent.begin(
            rendered(self.request.messages_for(candidate), candidate.provider),
            prefill=place.prefill
            and goes_on(self.request, candidate)
            and self._may_read_on(candidate),
        )
        self.receipt.continued |= bool(self.sent.text)
        return messages

    def _may_read_on(self, candidate: Candidate) -> bool:
        """What was begun on this machine may hold what the request did not."""
        if self._screen is None or candidate.local or not self.sent.text:
            return True
        try:
            return not self._screen.look([AIMessage(self.sent.text)]).keep_near
        except ContentBlockedError:
            return False

    # ------------------------------------------------------------------ choosing

    async def _next(self) -> Place:
        """The next candidate to ask, waiting for one where all must; raises when there is none."""
        ticket: Ticket | None = None
        try:
            while True:
                place, full = self._open()
                if place is not None:
                    return place
                if full and (ticket is None or ticket.is_used):
                    ticket = Ticket(self.request.priority)
                if (place := await self._wait(full, ticket)) is not None:
                    return place
        finally:
            if ticket is not None:
                ticket.close()

    def _open(self) -> tuple[Place | None, list[Place]]:
        """The first candidate that can be asked now, and those that are only full."""
        now = asyncio.get_running_loop().time()
        if now >= self._deadline:
            raise self._late()
        left = self._left()
        # One that failed waits until all others have had their turn, unless it may go at once.
        ready = sorted((p for p in left if p.ready_at <= now), key=lambda p: (not p.again, p.tries))
        full: list[Place] = []
        # Before its time only where there is nobody else: not all are closed if one could answer.
        for early in (False, True) if len(ready) == len(left) else (False,):
            for place in ready:
                if not place.enter():
                    full.append(place)
                    reason = "busy: it works on as many requests as it may"
                elif place.admit(early=early):
                    return place, full
                else:
                    reason = f"breaker: {place.candidate.breaker.why}"
                self.receipt.passed_over(place.candidate, reason)
            if full:
                break
        return None, full

    def _left(self) -> list[Place]:
        return [p for p in self._places if not p.out and p.tries <= self.options.retries]

    async def _wait(self, full: list[Place], ticket: Ticket | None) -> Place | None:
        """Sleep until a candidate may be asked; one that was full may be asked at once."""
        now = asyncio.get_running_loop().time()
        rest = [p for p in self._left() if p not in full]
        times = [max(p.ready_at, now + p.candidate.breaker.wait_s()) for p in rest]
        if ticket is not None and ticket.stand(
            p.candidate.slots for p in full if p.candidate.slots
        ):
            slots = await ticket.wait(min([*times, self._deadline]))
            if slots is None:
                return None
            place = next(p for p in self._left() if p.candidate.slots is slots)
            place.slots = slots
            return place if place.admit(early=False) else None
        if not times:
            raise self._none_left() if self._faults or not full else self._busy()
        until = min(times)
        if until >= self._deadline:
            raise self._none_left() if self._faults else self._all_closed()
        await asyncio.sleep(until - now)
        return None

    async def _hold(self, place: Place) -> Tab | None:
        """Reserve what the attempt may cost; None, and other places ahead, when the budget refuses."""
        try:
            return await self._account.hold(place.candidate)
        except Refused as refused:
            self._refused(place, refused)
            return None
        except BaseException:
            place.forget()
            raise

    def _refused(self, place: Place, refused: Refused) -> None:
        """Nothing is sent that the budget does not allow. Models on this machine stand in only where
        ``on_exhausted`` says so; money that others hold back is waited for.
        """
        place.forget()
        self.receipt.passed_over(place.candidate, refused.reason)
        near_goes_on = self._account.only_near
        if refused.kind == "busy":
            later = asyncio.get_running_loop().time() + self._account.wait_s(self._rng)
            for other in self._places:
                if other is place or (other.candidate.local and not near_goes_on):
                    other.ready_at = max(other.ready_at, later)
            return
        place.out = True
        if refused.kind == "unpriced":
            return
        for other in self._places:
            if not other.out and other.candidate.local is not near_goes_on:
                other.out = True
                said = "only models on this machine go on" if near_goes_on else "it is exhausted"
                self.receipt.passed_over(other.candidate, f"budget: {said}")

    def _attempt(self, place: Place, tab: Tab) -> Attempt:
        place.tries += 1
        place.again = False
        place.candidate.active += 1
        limits = Limits(self.options.first_token_s, self.options.stall_s, self._deadline)
        return Attempt(place.candidate, tab.request, limits, gather=self.sent.hold)

    # ------------------------------------------------------------------ judging

    def _failed(self, place: Place, attempt: Attempt, error: NearfarError) -> None:
        """Put a fault through the table; raises when the request ends with it."""
        if asyncio.get_running_loop().time() >= self._deadline:
            place.forget()
            self.receipt.tried(attempt, "failed", error, "deadline")
            self._faults.append(error)
            raise self._late() from error
        rule = rule_for(error)
        self.receipt.tried(attempt, "failed", error, rule.verdict.value)
        self._faults.append(error)
        self._tell_breaker(place, rule)
        if rule.verdict is Verdict.SURFACE and not self._continuing:
            raise self._described(error)
        if self.sent.text and self.options.midstream == "error":
            raise self._described(error)
        self._apply(rule, place, error)

    def _apply(self, rule: Rule, place: Place, error: NearfarError) -> None:
        wait = error.retry_after_s if isinstance(error, UpstreamError) else None
        if rule.verdict is Verdict.SURFACE and self.sent.prefilled and place.prefill:
            # What was refused is the prefill: the same once more, without it.
            place.prefill = False
            place.again = True
        elif rule.verdict in {Verdict.LEAVE, Verdict.CLOSE, Verdict.SURFACE}:
            place.out = True
        elif rule.verdict is Verdict.LARGER:
            self._only_larger(place.candidate)
        elif rule.verdict is Verdict.NEXT or place.tries > 1 or wait:
            pause = backoff_s(place.tries)
            place.ready_at = asyncio.get_running_loop().time() + max(wait or 0.0, pause)
        else:
            place.again = True

    def _only_larger(self, candidate: Candidate) -> None:
        window = candidate.takes.max_input_tokens
        for place in self._places:
            other = place.candidate.takes.max_input_tokens
            known = window is not None and other is not None and other > window
            place.out = place.out or not known

    def _tell_breaker(self, place: Place, rule: Rule) -> None:
        breaker = place.candidate.breaker
        if rule.verdict is Verdict.CLOSE:
            breaker.shut()
        elif rule.counts and place.permit is not None:
            breaker.failed(place.permit)
        else:
            place.forget()

    def _answered(self, place: Place, attempt: Attempt) -> AIMessageChunk:
        candidate = place.candidate
        seconds = attempt.first_token_s
        if seconds is not None:
            candidate.note_first_token(seconds)
        slow = seconds is not None and seconds > self.options.first_token_s * 0.8
        if place.permit is not None:
            candidate.breaker.succeeded(place.permit, slow=slow)
        self.receipt.tried(attempt, "answered")
        self.receipt.answered(candidate)
        receipt = self.receipt.to_dict()
        self._keep(receipt)
        return attempt.reply.last(plain=not self.sent.own_blocks, nearfar=receipt)

    # ------------------------------------------------------------------ ends

    @property
    def _continuing(self) -> bool:
        """A fallback that cannot continue an answer must not hide the fault that broke it."""
        return bool(self.sent.text) and len(self._faults) > 1

    def _described(self, error: NearfarError) -> NearfarError:
        """The error with the receipt, and with what the caller already has of the answer."""
        error.data["receipt"] = self.receipt.to_dict()
        self._keep(error.data["receipt"])
        if isinstance(error, ModelError | RouterError) and self.sent.text:
            error.partial = AIMessageChunk(content=self.sent.text)
        return error

    def _none_left(self) -> NearfarError:
        if not self._faults:
            return self._all_closed()
        first = self._faults[0]
        if len({id(p.candidate) for p in self._places if p.tries}) == 1:
            return self._described(first)
        words = "; ".join(dict.fromkeys(f.message for f in self._faults))
        error = AllCandidatesFailedError(f"No candidate answered: {words}.")
        error.__cause__ = first
        return self._described(error)

    def _all_closed(self) -> NearfarError:
        if self._account.refusal is not None:
            return self._described(self._account.refusal)
        reasons = "; ".join(
            f"{e['candidate']}: {e['reason']}" for e in self.receipt.considered if "reason" in e
        )
        return self._described(NoCandidateError(f"No candidate can be asked now ({reasons})."))

    def _busy(self) -> NearfarError:
        words = "Each candidate that could answer is at its limit, and as many wait as may wait."
        return self._described(RouterBusyError(words))

    def _late(self) -> NearfarError:
        words = f"No whole answer within {self.options.deadline_s:g} s"
        if self._faults:
            words += f"; the last fault: {self._faults[-1].message}"
        error = DeadlineExceededError(f"{words}.", data={"deadline_s": self.options.deadline_s})
        return self._described(error)


def _typed(error: Disagreement | NearfarError, place: Place) -> NearfarError:
    if isinstance(error, NearfarError):
        return error
    words = "asked again, it gave another answer than the one begun"
    return place.candidate.origin.error(BrokenReplyError, words, "disagreed")


def admitted(
    request: Request, candidates: Sequence[Candidate], receipt: Receipt, keep: Keep
) -> list[Candidate]:
    """The candidates that every gate lets through; raises NoCandidateError with each one's reason."""
    found = []
    for candidate in candidates:
        reason = next((r for gate in GATES if (r := gate(request, candidate))), None)
        if reason is None:
            found.append(candidate)
        else:
            receipt.passed_over(candidate, reason)
    if not found:
        reasons = "; ".join(f"{e['candidate']}: {e['reason']}" for e in receipt.considered)
        told = receipt.to_dict()
        keep(told)
        raise NoCandidateError(
            f"No candidate fits this request ({reasons}).", data={"receipt": told}
        )
    return found
