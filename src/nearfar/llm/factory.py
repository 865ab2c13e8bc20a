"""Chat models by name."""

from pathlib import Path
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import RunnableBinding

from nearfar.settings import LocalOptions, Settings, resolve

from .local.catalog import BUILTIN, model_folder
from .local.chat_model import LocalChatModel


def chat_model(
    name: str | None = None, *, settings: Settings | str | Path | None = None
) -> BaseChatModel:
    """The chat model of that name; None is the model ``default``, else the built-in one.

    A name that no setting has may also be ``builtin`` or a folder. Loads nothing yet. Raises
    ModelNotFoundError with the nearest name, ModelLoadError if the folder is no model.
    """
    known = resolve(settings)
    chosen = name if name is not None else "default" if "default" in known.models else BUILTIN
    configured = known.models.get(chosen)
    target = configured.model if configured else chosen
    if target != BUILTIN:
        target = str(model_folder(chosen, known))
    return LocalChatModel(model=target, **_options(known.local_options(chosen)))


def supports_grammar(model: Any) -> bool:
    """Whether a model takes ``grammar=``: local models do, also with arguments bound to them."""
    while isinstance(model, RunnableBinding):
        model = model.bound
    return bool(getattr(model, "supports_grammar", False))


def _options(options: LocalOptions) -> dict[str, Any]:
    return {name: getattr(options, name) for name in LocalOptions.model_fields}
