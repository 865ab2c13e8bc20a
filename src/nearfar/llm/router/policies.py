"""Policies put candidates in order, or leave some out: small callables that can be combined."""

import bisect
import hashlib
import itertools
import math
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import update_wrapper

from nearfar.llm.money import FREE

from .candidate import Candidate
from .gates import Request

Policy = Callable[[Request, Sequence[Candidate]], Sequence[Candidate]]
"""The candidates in the order in which they are to be tried; those that are left out are not."""


class Combinable(ABC):
    """A policy that combines with others, which may be plain functions.

    ``a.then(b)``: where ``a`` is indifferent, ``b`` decides. ``a | b``: what ``a`` gives, and behind it
    the rest as ``b`` has it. ``a & b``: what both give, in the order of ``a``.
    """

    parts: tuple[Policy, ...] = ()

    @abstractmethod
    def __call__(self, request: Request, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
        """The candidates in order."""

    @property
    def sticky(self) -> bool:
        """Whether the thread of a request decides."""
        return any(getattr(part, "sticky", True) for part in self.parts)

    @property
    def tags(self) -> frozenset[str]:
        """Tags that decide."""
        return frozenset().union(*(getattr(part, "tags", ()) for part in self.parts))

    def then(self, other: Policy) -> "Combinable":
        """Ties are broken by ``other``."""
        return Then(self, other)

    def __or__(self, other: Policy) -> "Combinable":
        return Either(self, other)

    def __ror__(self, other: Policy) -> "Combinable":
        return Either(other, self)

    def __and__(self, other: Policy) -> "Combinable":
        return Both(self, other)

    def __rand__(self, other: Policy) -> "Combinable":
        return Both(other, self)


class _Pair(Combinable):
    def __init__(self, first: Policy, second: Policy) -> None:
        self.parts = (first, second)


class Then(_Pair):
    """``a.then(b)``."""

    def __call__(self, request: Request, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
        first, second = self.parts
        return first(request, second(request, candidates))  # sorting is stable


class Either(_Pair):
    """``a | b``."""

    def __call__(self, request: Request, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
        first, second = self.parts
        found = list(first(request, candidates))
        rest = [candidate for candidate in candidates if candidate not in found]
        return [*found, *second(request, rest)] if rest else found


class Both(_Pair):
    """``a & b``."""

    def __call__(self, request: Request, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
        first, second = self.parts
        also = list(second(request, candidates))
        return [candidate for candidate in first(request, candidates) if candidate in also]


class ordering(Combinable):  # noqa: N801  (a decorator)
    """Makes a policy of a function that combines with others; the function sees no thread or tag."""

    def __init__(self, function: Policy) -> None:
        self._function = function
        update_wrapper(self, function)

    def __call__(self, request: Request, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
        """As the function says."""
        return self._function(request, candidates)


def only(wanted: Callable[[Candidate], bool]) -> Combinable:
    """Leaves out all but the candidates that are wanted."""
    return ordering(lambda _request, candidates: [c for c in candidates if wanted(c)])


@ordering
def priority(request: Request, candidates: Sequence[Candidate]) -> Sequence[Candidate]:  # noqa: ARG001
    """As configured."""
    return candidates


@ordering
def latency(request: Request, candidates: Sequence[Candidate]) -> Sequence[Candidate]:  # noqa: ARG001
    """The quickest first token of late first; one that was never asked is tried first."""
    return sorted(candidates, key=lambda c: c.first_token_s or 0.0)


@ordering
def least_busy(request: Request, candidates: Sequence[Candidate]) -> Sequence[Candidate]:  # noqa: ARG001
    """The one with the fewest requests of ours under way first."""
    return sorted(candidates, key=lambda c: c.active)


@ordering
def near_first(request: Request, candidates: Sequence[Candidate]) -> Sequence[Candidate]:  # noqa: ARG001
    """Models on this machine first."""
    return sorted(candidates, key=lambda c: not c.local)


@ordering
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


class Split(Combinable):
    """Shares requests out by weight; evenly without weights, else what they do not name has none.

    All requests of a thread begin with the same candidate, also in other processes, and also when
    another candidate comes or goes; requests outside of threads are shared out by chance. The other
    candidates follow in their order, those of weight 0 too.
    """

    sticky = True

    def __init__(
        self, weights: Mapping[str, float] | None = None, *, rng: random.Random | None = None
    ) -> None:
        self._weights = weights or {}
        self._rng = rng or random.Random()  # noqa: S311  (not a secret)

    def __call__(self, request: Request, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
        """The chosen one first."""
        other = 0.0 if self._weights else 1.0
        weights = {c.name: w for c in candidates if (w := self._weights.get(c.name, other)) > 0}
        if not weights:
            return candidates
        name = request.noted("split", lambda: self._chosen(weights, request.thread_id))
        return sorted(candidates, key=lambda c: c.name != name)

    def _chosen(self, weights: Mapping[str, float], thread: str | None) -> str:
        if thread is not None:
            # Rendezvous hashing: each candidate's share of the threads is its own.
            return min(weights, key=lambda name: -math.log(_point(thread, name)) / weights[name])
        ends = list(itertools.accumulate(weights.values()))
        place = bisect.bisect(ends, self._rng.random() * ends[-1])
        return list(weights)[min(place, len(ends) - 1)]


class RoundRobin(Combinable):
    """Each candidate in turn is the first."""

    def __init__(self) -> None:
        self._turn = itertools.count()

    def __call__(self, request: Request, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
        """Rotate by one place for each request."""
        if not candidates:
            return candidates
        start = request.noted("round_robin", lambda: next(self._turn)) % len(candidates)
        return [*candidates[start:], *candidates[:start]]


def _point(thread: str, name: str) -> float:
    """Above 0 and up to 1, always the same for a thread and a candidate."""
    digest = hashlib.sha256(f"{thread}\0{name}".encode()).digest()
    return (int.from_bytes(digest[:6]) + 1) / 2**48


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
