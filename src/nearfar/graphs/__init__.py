"""Predefined workflows, one file each, and the registry that finds any workflow by name or place.

Nothing is loaded here: a command line that only prints its help must not wait for LangGraph.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .cascades import cascade
    from .registry import Workflow, find, names, workflow
    from .runtime.parking import cloud_required

__all__ = ["Workflow", "cascade", "cloud_required", "find", "names", "workflow"]

_HOMES = {"cascade": ".cascades", "cloud_required": ".runtime.parking"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES.get(name, ".registry"), __name__), name)
