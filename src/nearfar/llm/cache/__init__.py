"""Answers that are kept, so that the same (or much the same) question is not paid for twice."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .entries import CacheStats
    from .keys import Asked, Key, Uncacheable, identity
    from .replay import Caching, remembered
    from .responses import Found, Hit, ResponseCache
    from .upkeep import clear, stats
    from .warming import WarmReport, warm

__all__ = [
    "Asked",
    "CacheStats",
    "Caching",
    "Found",
    "Hit",
    "Key",
    "ResponseCache",
    "Uncacheable",
    "WarmReport",
    "clear",
    "identity",
    "remembered",
    "stats",
    "warm",
]

_HOMES = {
    "Asked": ".keys",
    "CacheStats": ".entries",
    "Caching": ".replay",
    "Found": ".responses",
    "Hit": ".responses",
    "Key": ".keys",
    "ResponseCache": ".responses",
    "Uncacheable": ".keys",
    "WarmReport": ".warming",
    "clear": ".upkeep",
    "identity": ".keys",
    "remembered": ".replay",
    "stats": ".upkeep",
    "warm": ".warming",
}


def __getattr__(name: str) -> Any:
    """Load a name from its module when it is first used: `nearfar cache stats` needs no LangChain."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name], __name__), name)
