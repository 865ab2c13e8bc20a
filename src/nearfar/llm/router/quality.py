"""The policy that prefers the better answers: by configured scores and by recorded outcomes."""

from collections.abc import Mapping, Sequence

from .candidate import Candidate
from .gates import Request
from .outcomes import Outcomes
from .policies import Combinable

UNKNOWN = 0.5
"""The score of a candidate of which nothing is known."""
WEIGHT = 5.0
"""A score that was configured counts as much as this many outcomes."""


class Quality(Combinable):
    """The best first. Scores are from 0 to 1.

    What is configured is where a candidate begins; outcomes move it, and those of the request's
    label move it for requests of that label.
    """

    def __init__(
        self, scores: Mapping[str, float] | None = None, outcomes: Outcomes | None = None
    ) -> None:
        self._scores = scores or {}
        self._outcomes = outcomes

    def __call__(self, request: Request, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
        """Sorted by their scores."""
        scores = request.noted("quality", lambda: self.scores(request.label, candidates))
        return sorted(candidates, key=lambda c: -scores.get(c.name, UNKNOWN))

    def scores(self, label: str | None, candidates: Sequence[Candidate]) -> dict[str, float]:
        """By the names of the candidates."""
        known = self._outcomes.sums() if self._outcomes else {}
        found = {}
        for candidate in candidates:
            score = self._scores.get(candidate.name, candidate.quality)
            score = UNKNOWN if score is None else score
            for kind in ("", label) if label else ("",):
                weight, total = known.get((candidate.name, kind), (0.0, 0.0))
                score = (WEIGHT * score + total) / (WEIGHT + weight)
            found[candidate.name] = round(score, 6)
        return found
