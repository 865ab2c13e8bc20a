"""What a test of a graph needs: a chat model that follows a script, and a model of random weights.

Shipped with the package, because people who write graphs test them too. Nothing of it is loaded
before it is asked for.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .models import make_random_model
    from .scripted import Call, ScriptedChatModel, ScriptError

__all__ = ["Call", "ScriptError", "ScriptedChatModel", "make_random_model"]

_HOMES = {
    "Call": "scripted",
    "ScriptError": "scripted",
    "ScriptedChatModel": "scripted",
    "make_random_model": "models",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
