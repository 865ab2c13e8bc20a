"""Agents: the assistant, its memory, and the middleware that any agent can be given.

Nothing is loaded before it is asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .assistant import create_assistant as create_assistant
    from .memory import Memory as Memory
    from .store import MemoryStore as MemoryStore

__all__ = ["Memory", "MemoryStore", "create_assistant"]

_HOMES = {
    "Memory": ".memory",
    "MemoryStore": ".store",
    "create_assistant": ".assistant",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'nearfar.agents' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name], __name__), name)
