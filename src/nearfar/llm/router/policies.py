"""Policies put candidates in order: small callables that can be combined."""

import itertools
from collections.abc import Callable, Sequence

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


class RoundRobin:
    """Each candidate in turn is the first."""

    def __init__(self) -> None:
        self._turn = itertools.count()

    def __call__(
        self,
        request: Request,  # noqa: ARG002  (a policy's signature)
        candidates: Sequence[Candidate],
    ) -> Sequence[Candidate]:
        """Rotate by one place for each request."""
        start = next(self._turn) % len(candidates)
        return [*candidates[start:], *candidates[:start]]


POLICIES: dict[str, Callable[[], Policy]] = {
    "priority": lambda: priority,
    "latency": lambda: latency,
    "least_busy": lambda: least_busy,
    "near_first": lambda: near_first,
    "round_robin": RoundRobin,
}
"""By the name that the configuration uses; a fresh one for each router."""
