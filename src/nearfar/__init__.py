"""Nearfar runs LLM agents near (a model on this machine) and far (in the cloud).

``import nearfar`` costs next to nothing: each name below loads what it needs when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .errors import NearfarError as NearfarError
    from .graphs import workflow as workflow
    from .graphs.runtime.effects import effect as effect
    from .graphs.runtime.runner import Runner as Runner
    from .llm import LocalChatModel as LocalChatModel
    from .llm import LocalEmbeddings as LocalEmbeddings
    from .llm import chat_model as chat_model
    from .llm.embeddings import embeddings as embeddings
    from .settings import Settings as Settings
    from .settings import load_settings as load_settings

__version__ = "0.1.0"

__all__ = [
    "LocalChatModel",
    "LocalEmbeddings",
    "NearfarError",
    "Runner",
    "Settings",
    "__version__",
    "chat_model",
    "effect",
    "embeddings",
    "load_settings",
    "workflow",
]

_HOMES = {
    "LocalChatModel": ".llm",
    "LocalEmbeddings": ".llm",
    "NearfarError": ".errors",
    "Runner": ".graphs.runtime.runner",
    "Settings": ".settings",
    "chat_model": ".llm",
    "effect": ".graphs.runtime.effects",
    "embeddings": ".llm",
    "load_settings": ".settings",
    "workflow": ".graphs",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'nearfar' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name], __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
