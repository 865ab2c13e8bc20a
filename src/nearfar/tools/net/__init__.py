"""Requests to addresses that a model or a page gave: checked, pinned, and bounded.

``docs/guides/web-tools.md`` describes what is refused and why.
"""

from .addresses import IPAddress, forbidden_kind
from .client import GuardedClient, Reply
from .policy import NetLimits, NetPolicy
from .resolving import Connector, Resolver, direct, system_resolver
from .urls import Url, parse_url

__all__ = [
    "Connector",
    "GuardedClient",
    "IPAddress",
    "NetLimits",
    "NetPolicy",
    "Reply",
    "Resolver",
    "Url",
    "direct",
    "forbidden_kind",
    "parse_url",
    "system_resolver",
]
