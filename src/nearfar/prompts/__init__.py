"""Prompts as files: typed variables, versions, includes, and rules that find what is wrong with them.

``library()`` holds the templates that come with Nearfar and the user's own;
``library().get("crew/task").messages(...)`` gives messages for a chat model.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .rules import Finding, check
    from .shelf import Library, library
    from .template import Prompt, Variable

__all__ = ["Finding", "Library", "Prompt", "Variable", "check", "library"]

_HOMES = {
    "Finding": ".rules",
    "Library": ".shelf",
    "Prompt": ".template",
    "Variable": ".template",
    "check": ".rules",
    "library": ".shelf",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'nearfar.prompts' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name], __name__), name)
