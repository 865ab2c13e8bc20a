"""Durable runs: any graph, written down before it is accepted and after each step.

``Runner`` starts, resumes and lists runs; what a step may know of its run is ``current_run()``.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .context import RunContext, current_run

__all__ = ["RunContext", "current_run"]

_HOMES = {"RunContext": ".context", "current_run": ".context"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name], __name__), name)
