"""What a router did for one request, and why: plain JSON on every reply and every error."""

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

from nearfar.errors import NearfarError

from .attempt import Attempt
from .candidate import Candidate
from .gates import Request


@dataclass
class Receipt:
    """Kept while a request runs; ``to_dict`` is what stands in ``response_metadata["nearfar"]``.

    Times are seconds since the request came in.
    """

    router: str
    policy: str
    label: str | None = None
    started: float = field(default_factory=time.monotonic)
    considered: list[dict[str, Any]] = field(default_factory=list)
    attempts: list[dict[str, Any]] = field(default_factory=list)
    answered_by: str | None = None
    local: bool | None = None
    continued: bool = False
    cost_usd: Decimal | None = Decimal(0)
    """Of all attempts; None: one of them had no known price."""
    price_source: str | None = None
    private: bool = False
    found: Mapping[str, int] = field(default_factory=dict)
    """What the screen found in the request: kinds and counts."""
    inputs: dict[str, Any] | None = None
    """What the choice was made from."""
    id: str = field(default_factory=lambda: secrets.token_hex(8))

    def elapsed_s(self) -> float:
        """Since the request came in, to the tenth of a millisecond."""
        return round(time.monotonic() - self.started, 4)

    def passed_over(self, candidate: Candidate, reason: str) -> None:
        """A gate or the breaker took a candidate out."""
        entry = {"candidate": candidate.name, "model": candidate.model_id, "reason": reason}
        if entry not in self.considered:
            self.considered.append(entry)

    def left_out(self, candidates: list[Candidate]) -> None:
        """The policy does without them."""
        for candidate in candidates:
            self.passed_over(candidate, "policy: it leaves this one out")

    def in_order(self, candidates: list[Candidate], request: Request) -> None:
        """The order that the policy chose; what was left out of the conversation for a candidate."""
        for place, candidate in enumerate(candidates, 1):
            entry: dict[str, Any] = {
                "candidate": candidate.name,
                "model": candidate.model_id,
                "place": place,
            }
            cut = request.shortened.get(candidate.name)
            if cut is not None:
                entry["dropped"] = {"turns": cut.turns, "messages": cut.dropped}
            self.considered.append(entry)

    def tried(
        self,
        attempt: Attempt,
        outcome: Literal["answered", "failed", "abandoned"],
        error: NearfarError | None = None,
        verdict: str | None = None,
    ) -> None:
        """An attempt is over; abandoned: its caller went away."""
        entry: dict[str, Any] = {
            "candidate": attempt.candidate.name,
            "model": attempt.reply.metadata.get("model_name") or attempt.candidate.model_id,
            "outcome": outcome,
            "started_s": round(attempt.started - self.started, 4),
            "ended_s": self.elapsed_s(),
            "first_token_s": attempt.first_token_s and round(attempt.first_token_s, 4),
        }
        if attempt.without:
            entry["without_tools"] = attempt.without
        if error is not None:
            entry |= {
                "code": error.code,
                "fault": error.data.get("fault"),
                "status": error.data.get("status"),
                "reason": error.message,
                "verdict": verdict,
            }
        self.attempts.append(entry)

    def answered(self, candidate: Candidate) -> None:
        """The request is done."""
        self.answered_by = candidate.name
        self.local = candidate.local

    def paid(self, cost_usd: Decimal | None, price_source: str | None) -> None:
        """An attempt has cost something, also one that broke off; the last price's source stays."""
        if self.cost_usd is not None:
            self.cost_usd = None if cost_usd is None else self.cost_usd + cost_usd
        self.price_source = price_source

    def to_dict(self) -> dict[str, Any]:
        """JSON: no content of the request or the reply."""
        label = {} if self.label is None else {"label": self.label}
        return {
            "id": self.id,
            "router": self.router,
            "policy": self.policy,
            **label,
            "candidates": self.considered,
            "attempts": self.attempts,
            "answered_by": self.answered_by,
            "local": self.local,
            "continued": self.continued,
            "cost_usd": None if self.cost_usd is None else float(self.cost_usd),
            "price_source": self.price_source,
            "elapsed_s": self.elapsed_s(),
            "private": self.private,
            "found": dict(self.found),
            "inputs": self.inputs,
        }
