"""A candidate within one request."""

from dataclasses import dataclass

from .breaker import Permit
from .candidate import Candidate
from .slots import Slots


@dataclass(eq=False)
class Place:
    """A candidate in this request: how often it was tried, and when it may be tried again."""

    candidate: Candidate
    tries: int = 0
    ready_at: float = 0.0
    out: bool = False
    again: bool = False
    prefill: bool = True
    """It has not refused to go on from the beginning of an answer."""
    permit: Permit | None = None
    slots: Slots | None = None
    """It holds one of these."""

    def enter(self) -> bool:
        """Whether it works on fewer requests than it may; this one then counts."""
        if self.candidate.slots is None:
            return True
        if self.candidate.slots.take():
            self.slots = self.candidate.slots
        return self.slots is not None

    def leave(self) -> None:
        """The candidate does not work on the request any more."""
        if self.slots is not None:
            self.slots.give_back()
            self.slots = None

    def admit(self, *, early: bool) -> bool:
        """Whether its breaker lets a request through now; if not, it is left."""
        self.permit = self.candidate.breaker.admit(early=early)
        if self.permit is None:
            self.leave()
        return self.permit is not None

    def forget(self) -> None:
        """The request that was let through says nothing about the upstream."""
        self.leave()
        if self.permit is not None:
            self.candidate.breaker.forget(self.permit)
