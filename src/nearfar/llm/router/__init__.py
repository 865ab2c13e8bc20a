"""Failover: a chat model that is made of chat models, and keeps its word under every fault."""

from .breaker import Breaker, BreakerOptions, Health
from .caller import at_priority
from .candidate import Candidate, Capabilities
from .gates import Gate, Request, only_far
from .options import RouterOptions
from .outcomes import record_outcome
from .policies import Combinable, Policy, RoundRobin, Split, only, ordering
from .quality import Quality
from .receipt import Receipt
from .router import Router
from .rules import Rule, Rules, When

__all__ = [
    "Breaker",
    "BreakerOptions",
    "Candidate",
    "Capabilities",
    "Combinable",
    "Gate",
    "Health",
    "Policy",
    "Quality",
    "Receipt",
    "Request",
    "RoundRobin",
    "Router",
    "RouterOptions",
    "Rule",
    "Rules",
    "Split",
    "When",
    "at_priority",
    "only",
    "only_far",
    "ordering",
    "record_outcome",
]
