"""Crews: roles with tasks, compiled to a plain LangGraph.

``load_crew("crew.yaml")`` reads a definition, ``Crew(...)`` makes one, ``build_crew(crew)`` gives the
graph.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .building import build_crew
    from .definition import Crew, Guard, Limits, Role, Task
    from .loading import crew_schema, load_crew

__all__ = ["Crew", "Guard", "Limits", "Role", "Task", "build_crew", "crew_schema", "load_crew"]

_HOMES = {
    "Crew": ".definition",
    "Guard": ".definition",
    "Limits": ".definition",
    "Role": ".definition",
    "Task": ".definition",
    "build_crew": ".building",
    "crew_schema": ".loading",
    "load_crew": ".loading",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'nearfar.agents.crew' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name], __name__), name)
