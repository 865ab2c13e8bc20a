"""Values that name a place: a relative path starts from the file that it stands in."""

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo

from ._settings_source import EnvironmentText


def _base(value: str, info: ValidationInfo) -> Path:
    """The folder that a relative path in ``value`` starts from."""
    context = info.context or {}
    return (
        Path.cwd() if isinstance(value, EnvironmentText) else Path(context.get("base", Path.cwd()))
    )


def _place_model(value: Any, info: ValidationInfo) -> Any:
    """Make a folder absolute; leave bare names (``builtin``) alone unless such a folder is there."""
    if not isinstance(value, str) or value == "builtin" or not value:
        return value
    if info.data.get("provider", "local") != "local":
        return value
    path = Path(value).expanduser()
    folder = _base(value, info) / path
    looks_like_path = any(mark in value for mark in ("/", "\\")) or value.startswith((".", "~"))
    return str(folder.resolve()) if looks_like_path or folder.is_dir() else value


def _place_workflow(value: Any, info: ValidationInfo) -> Any:
    """Make the file of ``./file.py:graph`` or ``./crew.yaml`` absolute."""
    if not isinstance(value, str):
        return value
    if value.lower().endswith((".yaml", ".yml")):
        return str((_base(value, info) / Path(value).expanduser()).resolve())
    file, colon, attribute = value.rpartition(":")
    if not colon or not file.endswith(".py"):
        return value
    return f"{(_base(value, info) / Path(file).expanduser()).resolve()}:{attribute}"


def _place_url(value: Any, info: ValidationInfo) -> Any:
    """Make the path of ``sqlite:///notes.db`` absolute."""
    prefix = "sqlite:///"
    if not isinstance(value, str) or not value.startswith(prefix) or value == prefix:
        return value
    path = Path(unquote(value.removeprefix(prefix))).expanduser()
    return f"{prefix}{(_base(value, info) / path).resolve().as_posix()}"


def _place_folder(value: Any, info: ValidationInfo) -> Any:
    """Make a folder absolute; it need not be there yet."""
    if not isinstance(value, str) or not value:
        return value
    return str((_base(value, info) / Path(value).expanduser()).absolute())


def _check_url(value: str) -> str:
    scheme = urlsplit(value).scheme
    if scheme != "sqlite":
        raise ValueError("must start with sqlite:/// (this version stores in SQLite only)")
    if not value.startswith("sqlite:///") or value == "sqlite:///":
        raise ValueError("must be written as sqlite:///path/to/file.db")
    return value


ModelReference = Annotated[str, Field(min_length=1), BeforeValidator(_place_model)]
WorkflowReference = Annotated[
    str,
    Field(pattern=r"^[^:].*(:[A-Za-z_][A-Za-z0-9_.]*|\.[yY][aA]?[mM][lL])$"),
    BeforeValidator(_place_workflow),
]
FolderPath = Annotated[str, Field(min_length=1), BeforeValidator(_place_folder)]
DatabaseUrl = Annotated[str, Field(pattern=r"^[A-Za-z0-9_+]+:(//|$)"), BeforeValidator(_place_url)]
StorageUrl = Annotated[str, BeforeValidator(_place_url), AfterValidator(_check_url)]
FilePath = Annotated[str, Field(min_length=1), BeforeValidator(_place_folder)]
