"""Chat models by name: near, far, and routers over both."""

from pathlib import Path
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import RunnableBinding

from nearfar.errors import ModelNotFoundError
from nearfar.settings import LocalOptions, RouterSettings, Settings, resolve

from .local.catalog import BUILTIN, model_folder
from .local.chat_model import LocalChatModel


def chat_model(
    name: str | None = None, *, settings: Settings | str | Path | None = None
) -> BaseChatModel:
    """The router or chat model of that name.

    None is the router ``default``, else the model ``default``, else the built-in model. A name that no
    setting has may also be ``builtin`` or a folder. Where the settings keep requests from going far, a
    model that is far comes in a router of its own, which holds them back. Loads and connects to nothing yet. Raises
    ModelNotFoundError with the nearest name, ModelLoadError if the folder is no model, and
    ConfigurationError where a key is missing.
    """
    known = resolve(settings)
    chosen = _default(known) if name is None else name
    if chosen in known.routers:
        return _router(chosen, known)
    if _is_screened(chosen, known):
        alone = RouterSettings(candidates=[chosen])
        return _router(chosen, known.model_copy(update={"routers": {chosen: alone}}))
    return _model(chosen, known)


def routed(
    name: str | None, *, policy: str | None = None, settings: Settings | str | Path | None = None
) -> BaseChatModel:
    """The router of that name, with another policy where one is given.

    None is the router ``default``; where none is configured, one over the default model alone. Raises ModelNotFoundError where there is no such router.
    """
    known = resolve(settings)
    chosen = name or "default"
    if name is None and chosen not in known.routers:
        alone = RouterSettings(candidates=["default" if "default" in known.models else BUILTIN])
        known = known.model_copy(update={"routers": {**known.routers, chosen: alone}})
    if chosen not in known.routers:
        raise ModelNotFoundError(
            f"There is no router {chosen!r}.",
            remedy="Name one under `routers:` in nearfar.yaml, with its candidates.",
            data={"name": chosen, "known": sorted(known.routers)},
        )
    return _router(chosen, known, policy)


def supports_grammar(model: Any) -> bool:
    """Whether a model takes ``grammar=``: local models do, also with arguments bound to them."""
    while isinstance(model, RunnableBinding):
        model = model.bound
    return bool(getattr(model, "supports_grammar", False))


def _is_screened(name: str, settings: Settings) -> bool:
    """Whether it is a far model, and there is something that must not go there."""
    model = settings.models.get(name)
    looks = settings.privacy.is_on or settings.content.is_on
    return looks and model is not None and model.provider != "local"


def _default(settings: Settings) -> str:
    named = "default" in settings.routers or "default" in settings.models
    return "default" if named else BUILTIN


def _router(name: str, settings: Settings, policy: str | None = None) -> BaseChatModel:
    from .router.building import router

    return router(name, settings, lambda model: _model(model, settings), policy)


def _model(name: str, settings: Settings) -> BaseChatModel:
    configured = settings.models.get(name)
    if configured is not None and configured.provider != "local":
        from .cloud import cloud_model

        return cloud_model(name, configured)
    target = configured.model if configured else name
    if target != BUILTIN:
        target = str(model_folder(name, settings))
    return LocalChatModel(model=target, **_options(settings.local_options(name)))


def _options(options: LocalOptions) -> dict[str, Any]:
    return {name: getattr(options, name) for name in LocalOptions.model_fields}
