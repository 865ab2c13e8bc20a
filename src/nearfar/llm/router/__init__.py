"""Failover: a chat model that is made of chat models, and keeps its word under every fault."""

from .breaker import Breaker, BreakerOptions, Health
from .candidate import Candidate, Capabilities
from .gates import Gate, Request, only_far
from .options import RouterOptions
from .policies import Policy
from .receipt import Receipt
from .router import Router

__all__ = [
    "Breaker",
    "BreakerOptions",
    "Candidate",
    "Capabilities",
    "Gate",
    "Health",
    "Policy",
    "Receipt",
    "Request",
    "Router",
    "RouterOptions",
    "only_far",
]
