"""Rules choose candidates, or a policy, by what a request is like; the first that fits decides."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, time, tzinfo

from .candidate import Candidate
from .gates import Request
from .policies import Combinable, Policy

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True)
class When:
    """What a request must be like; what is not given does not matter.

    ``tokens`` are the prompt's by rule of thumb. The hours begin with ``start`` and end before
    ``end``, and go over midnight where ``end`` is the earlier one; ``days`` are 0 (Monday) to 6.
    Times are those of ``zone``, else of this machine.
    """

    min_tokens: int = 0
    max_tokens: int | None = None
    tools: bool | None = None
    images: bool | None = None
    label: frozenset[str] | None = None
    tag: frozenset[str] | None = None
    start: time | None = None
    end: time | None = None
    days: frozenset[int] | None = None
    zone: tzinfo | None = None
    clock: Callable[[tzinfo | None], datetime] = datetime.now

    def __call__(self, request: Request) -> bool:
        """Whether the request is like that."""
        return self._is_such(request) and self._is_long(request) and self._is_time()

    def _is_such(self, request: Request) -> bool:
        return (
            (self.tools is None or self.tools is bool(request.tools))
            and (self.label is None or request.label in self.label)
            and (self.tag is None or not self.tag.isdisjoint(request.tags))
            and (self.images is None or self.images is request.has_images)
        )

    def _is_long(self, request: Request) -> bool:
        if not self.min_tokens and self.max_tokens is None:
            return True
        tokens = request.size
        return tokens >= self.min_tokens and (self.max_tokens is None or tokens <= self.max_tokens)

    def _is_time(self) -> bool:
        if self.start is None and self.end is None and self.days is None:
            return True
        now = self.clock(self.zone)
        if self.days is not None and now.weekday() not in self.days:
            return False
        hour, start, end = now.time(), self.start or time.min, self.end or time.min
        if start < end:
            return start <= hour < end
        return hour >= start or hour < end


@dataclass(frozen=True)
class Rule:
    """Where ``when`` holds: these candidates alone, by name, in this order; or as a policy says."""

    when: Callable[[Request], bool]
    use: Sequence[str] | Policy


class Rules(Combinable):
    """The first rule that fits decides; without one, all candidates keep their order."""

    def __init__(self, *rules: Rule) -> None:
        self.rules = rules
        self.parts = tuple(rule.use for rule in rules if callable(rule.use))

    @property
    def tags(self) -> frozenset[str]:
        """Tags that a rule asks for."""
        own = (getattr(rule.when, "tag", None) or () for rule in self.rules)
        return super().tags.union(*own)

    def __call__(self, request: Request, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
        """As the first rule that fits says."""
        place = request.noted("rule", lambda: self._first(request))
        if place is None:
            return candidates
        use = self.rules[place].use
        if callable(use):
            return use(request, candidates)
        by_name = {candidate.name: candidate for candidate in candidates}
        return [by_name[name] for name in use if name in by_name]

    def _first(self, request: Request) -> int | None:
        return next((n for n, rule in enumerate(self.rules) if rule.when(request)), None)
