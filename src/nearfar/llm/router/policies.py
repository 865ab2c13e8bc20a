"""Policies put candidates in order: small callables that can be combined."""

import bisect
import hashlib
import itertools
import random
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal

from nearfar.llm.money import FREE

from .candidate import Candidate
from .gates import Request

Policy = Callable[[Request, Sequence[Candidate]], Sequence[Candidate]]
"""The candidates in the order in which they are to be tried."""


def priority(request: Request, candidates: Sequence[Candidate]) -> Sequence[Candidate]:  # noqa: ARG001
    """As configured."""
    return candidates


def latency(request: Request, candidates: Sequence[Candidate]) -> Sequence[Candidate]:  # noqa: ARG001
    """The quickest first token of late first; one that was never asked is tried first."""
    return sorted(candidates, key=lambda c: c.first_token_s or 0.0)


def least_busy(request: Request, candidates: Sequence[Candidate]) -> Sequence[Candidate]:  # noqa: ARG001
    """The one with the fewest requests of ours under way first."""
    return sorted(candidates, key=lambda c: c.active)


def near_first(request: Request, candidates: Sequence[Candidate]) -> Sequence[Candidate]:  # noqa: ARG001
    """Models on this machine first."""
    return sorted(candidates, key=lambda c: not c.local)


def cost(request: Request, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
    """The cheapest for this prompt and its reserved reply first; those without a price last."""

    def usd(candidate: Candidate) -> tuple[bool, Decimal]:
        price = FREE if candidate.local else candidate.price
        if price is None:
            return True, Decimal(0)
        if price.is_free:
            return False, Decimal(0)
        tokens = request.tokens(candidate)
        return False, price.worst_case(tokens, request.reserve)

    return sorted(candidates, key=usd)


class Split:
    """Shares requests out by weight: a candidate that ``weights`` does not name has weight 1.

    All requests of a LangGraph thread begin with the same candidate, also in other processes; requests
    outside of threads are shared out by chance. The other candidates follow in their order.
    """

    def __init__(
        self, weights: Mapping[str, float] | None = None, *, rng: random.Random | None = None
    ) -> None:
        self._weights = weights or {}
        self._rng = rng or random.Random()  # noqa: S311  (not a secret)

    def __call__(self, request: Request, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
        """The chosen one first."""
        weights = [self._weights.get(candidate.name, 1.0) for candidate in candidates]
        ends = list(itertools.accumulate(weights))
        point = request.noted("split", self._point)
        first = candidates[min(bisect.bisect(ends, point * ends[-1]), len(ends) - 1)]
        return [first, *(candidate for candidate in candidates if candidate is not first)]

    def _point(self) -> float:
        """From 0 up to 1, always the same for a thread."""
        from langchain_core.runnables.config import ensure_config

        thread = ensure_config().get("configurable", {}).get("thread_id")
        if thread is None:
            return self._rng.random()
        return int.from_bytes(hashlib.sha256(str(thread).encode()).digest()[:6]) / 2**48


class RoundRobin:
    """Each candidate in turn is the first."""

    def __init__(self) -> None:
        self._turn = itertools.count()

    def __call__(self, request: Request, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
        """Rotate by one place for each request."""
        start = request.noted("round_robin", lambda: next(self._turn)) % len(candidates)
        return [*candidates[start:], *candidates[:start]]


POLICIES: dict[str, Callable[[], Policy]] = {
    "priority": lambda: priority,
    "latency": lambda: latency,
    "least_busy": lambda: least_busy,
    "near_first": lambda: near_first,
    "round_robin": RoundRobin,
    "cost": lambda: cost,
    "split": Split,
}
"""By the name that the configuration uses; a fresh one for each router."""
