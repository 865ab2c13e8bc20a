"""Everything that turns messages into a reply, and texts into vectors."""

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .embeddings import LocalEmbeddings, embeddings
    from .factory import chat_model, routed, supports_grammar
    from .local.chat_model import LocalChatModel

__all__ = [
    "LocalChatModel",
    "LocalEmbeddings",
    "chat_model",
    "embeddings",
    "routed",
    "supports_grammar",
]

_HOMES = {
    "LocalChatModel": ".local.chat_model",
    "LocalEmbeddings": ".embeddings",
    "chat_model": ".factory",
    "embeddings": ".embeddings",
    "routed": ".factory",
    "supports_grammar": ".factory",
}


def __getattr__(name: str) -> Any:
    """Load a name from its module when it is first used: they load LangChain."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name], __name__), name)


class _Package(ModuleType):
    """Keeps ``nearfar.llm.embeddings`` the function, also once the module of that name is loaded."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in __all__ and isinstance(value, ModuleType):
            value = getattr(value, name)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
