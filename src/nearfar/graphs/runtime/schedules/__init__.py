"""Schedules: runs that are started at set times, each time once, whoever looks at the clock."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .service import Schedules, tick

__all__ = ["Schedules", "tick"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import service

    return getattr(service, name)
