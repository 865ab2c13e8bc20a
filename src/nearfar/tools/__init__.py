"""What an agent can call. Plain LangChain tools, each with a permission, limits and an audit line.

``tool("calculator")`` gives one, ``tools(["sql", "files"])`` several, ``names()`` says what there is.
A tool of one's own gets the same care from ``guarded``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .registry import names, tool, tools

if TYPE_CHECKING:
    from .base import Arguments as Arguments
    from .base import GuardedTool as GuardedTool
    from .base import Result as Result
    from .base import guarded as guarded
    from .spotlight import mark_as_data as mark_as_data

__all__ = [
    "Arguments",
    "GuardedTool",
    "Result",
    "guarded",
    "mark_as_data",
    "names",
    "tool",
    "tools",
]

_HOMES = {
    "Arguments": ".base",
    "GuardedTool": ".base",
    "Result": ".base",
    "guarded": ".base",
    "mark_as_data": ".spotlight",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'nearfar.tools' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name], __name__), name)
