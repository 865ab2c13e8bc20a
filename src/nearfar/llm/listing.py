"""The models that are configured or come with the package, looked at but not loaded."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nearfar.errors import ModelError
from nearfar.settings import EmbeddingSettings, ModelSettings, Settings

from .embedding_folder import BUILTIN as EMBEDDINGS_BUILTIN
from .embedding_folder import EmbeddingFolder
from .local.catalog import BUILTIN, builtin_folder, folder_size, read_model

Kind = Literal["chat", "embedding"]


@dataclass(frozen=True)
class ListedModel:
    """A model as `nearfar models list` shows it. ``problem`` is None if its files are there."""

    kind: Kind
    name: str  # what chat_model() and embeddings() take
    model: str  # what the model calls itself
    provider: str
    folder: Path
    size_bytes: int
    context: int | None  # tokens; None where it is not known
    default: bool  # used when no name is given
    problem: str | None


def list_models(settings: Settings) -> list[ListedModel]:
    """Built-in and configured models, chat models first."""
    return [
        *_rows("chat", settings.models),
        *_rows("embedding", settings.embeddings),
    ]


def _rows(
    kind: Kind, configured: Mapping[str, ModelSettings] | Mapping[str, EmbeddingSettings]
) -> Iterator[ListedModel]:
    default = "default" if "default" in configured else BUILTIN
    yield _row(kind, BUILTIN, BUILTIN, "local", default=default == BUILTIN)
    for name, model in configured.items():
        yield _row(kind, name, model.model, model.provider, default=name == default)


def _row(kind: Kind, name: str, target: str, provider: str, *, default: bool) -> ListedModel:
    folder = Path(target).expanduser()
    if target == BUILTIN:
        folder = builtin_folder() if kind == "chat" else EMBEDDINGS_BUILTIN
    called, context, problem = folder.name, None, None
    try:
        called, context = _facts(kind, folder)
    except ModelError as error:
        problem = error.message
    size = folder_size(folder) if folder.is_dir() else 0
    return ListedModel(kind, name, called, provider, folder, size, context, default, problem)


def _facts(kind: Kind, folder: Path) -> tuple[str, int]:
    """Name and context. Raises ModelError that says what is missing."""
    if kind == "embedding":
        facts = EmbeddingFolder(folder).facts
        return facts.name, facts.max_tokens
    if not folder.is_dir():
        raise ModelError(f"The folder {folder} does not exist.")
    info = read_model(folder)
    return info.name, info.window
