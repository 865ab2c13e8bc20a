"""The fault table: what each fault means for the request and for the upstream's breaker."""

from dataclasses import dataclass
from enum import Enum

from nearfar.errors import (
    ContextWindowError,
    EngineBusyError,
    EngineCrashedError,
    EngineMemoryError,
    EngineTimeoutError,
    NearfarError,
    RouterError,
    UpstreamError,
)


class Verdict(Enum):
    """What happens next in a request."""

    AGAIN = "again"
    """Often gone at once: the same candidate once more, without a wait."""
    NEXT = "next"
    """Another candidate now; this one again, after a wait, only when no other is open."""
    LEAVE = "leave"
    """Another candidate; this one not again in this request."""
    CLOSE = "close"
    """As LEAVE, and the candidate stays closed for its longest time: its key or account is bad."""
    LARGER = "larger"
    """Only candidates with a larger window than this one."""
    SURFACE = "surface"
    """The caller's own fault: no other candidate would do better."""


@dataclass(frozen=True)
class Rule:
    """A verdict, and whether the fault counts against the upstream's health."""

    verdict: Verdict
    counts: bool = True


TABLE: dict[str, Rule] = {
    "refused": Rule(Verdict.NEXT),
    "reset": Rule(Verdict.AGAIN),
    "dns": Rule(Verdict.NEXT),
    "tls": Rule(Verdict.LEAVE),
    "connect_timeout": Rule(Verdict.NEXT),
    "silence": Rule(Verdict.LEAVE),
    "first_token": Rule(Verdict.LEAVE),
    "stall": Rule(Verdict.LEAVE),
    "rate_limit": Rule(Verdict.NEXT),
    "quota": Rule(Verdict.CLOSE),
    "auth": Rule(Verdict.CLOSE),
    "not_found": Rule(Verdict.LEAVE),
    "rejected": Rule(Verdict.SURFACE, counts=False),
    "too_large": Rule(Verdict.LEAVE, counts=False),
    "context": Rule(Verdict.LARGER, counts=False),
    "content_filter": Rule(Verdict.SURFACE, counts=False),
    "server": Rule(Verdict.AGAIN),
    "overloaded": Rule(Verdict.NEXT),
    "empty": Rule(Verdict.AGAIN),
    "malformed": Rule(Verdict.AGAIN),
    "no_end": Rule(Verdict.AGAIN),
    "cut": Rule(Verdict.AGAIN),
    "tool_call": Rule(Verdict.AGAIN),
    "disagreed": Rule(Verdict.LEAVE, counts=False),
    "unknown": Rule(Verdict.NEXT),
}
"""By the ``fault`` of an UpstreamError."""

_OURS: tuple[tuple[type[NearfarError], Rule], ...] = (
    (ContextWindowError, Rule(Verdict.LARGER, counts=False)),
    (EngineBusyError, Rule(Verdict.NEXT, counts=False)),
    (EngineCrashedError, Rule(Verdict.AGAIN)),
    (EngineTimeoutError, Rule(Verdict.LEAVE)),
    (EngineMemoryError, Rule(Verdict.LEAVE)),
    (RouterError, Rule(Verdict.LEAVE)),
)


def rule_for(error: NearfarError) -> Rule:
    """The table's word on an error; what it does not know is surfaced without blame.

    What a router within this one has given up is not tried again here: attempts do not multiply.
    """
    rule = _rule(error)
    if "receipt" in error.data and rule.verdict is not Verdict.SURFACE:
        return Rule(Verdict.LEAVE, counts=rule.counts)
    return rule


def _rule(error: NearfarError) -> Rule:
    if isinstance(error, UpstreamError):
        return TABLE.get(error.fault, TABLE["unknown"])
    for kind, rule in _OURS:
        if isinstance(error, kind):
            return rule
    return Rule(Verdict.SURFACE, counts=False)
