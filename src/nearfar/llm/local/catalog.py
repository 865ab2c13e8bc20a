"""Which models there are on this machine, and what their folders say about them.

A model is a folder that onnxruntime-genai can load: ``genai_config.json``, the ONNX files that it
names, ``tokenizer.json`` and a chat template. A ``nearfar.json`` beside them may declare what
cannot be read off the rest; everything in it is optional::

    {"name": "my-model",                    the name in replies, else the folder's
     "dialect": "hermes",                   how the model writes tool calls, else detected
     "json_separators": [", ", ": "],       how it writes JSON, else as its template does
     "template_variables": {...},           what its chat template wants besides the usual
     "schema_prompt": "... {schema}",       how it is told a JSON schema; "" leaves it untold
     "profile": {"tool_calling": true}}     over the profile that is derived

Nothing here loads a model: reading a folder takes milliseconds.
"""

import difflib
import json
import mmap
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nearfar.errors import ModelLoadError, ModelNotFoundError
from nearfar.settings import Settings

BUILTIN = "builtin"
ASSETS = Path(__file__).parent.parent / "assets"

_CONFIG = "genai_config.json"
_OWN = "nearfar.json"
_OWN_KEYS = {
    "name",
    "dialect",
    "json_separators",
    "template_variables",
    "schema_prompt",
    "profile",
}
_LFS = b"version https://git-lfs"
_SCAN_LIMIT_BYTES = 256 * 1024 * 1024  # an ONNX file over this holds its weights itself
# In an ONNX file: an entry with the key "location", and the name of the file with the weights.
_EXTERNAL = re.compile(rb"\x0a\x08location\x12([\x01-\x7f])")

DEFAULT_SCHEMA_PROMPT = "Answer with one JSON value that fits this schema: {schema}"


@dataclass(frozen=True)
class LocalModelInfo:
    """What a model's folder says about it."""

    name: str  # as replies name it
    folder: Path  # absolute
    architecture: str  # genai_config's model type, such as "phi3"
    context_length: int  # tokens that the model was made for
    window: int  # tokens that prompt and reply may have together
    size_bytes: int  # all files of the folder
    dialect: str | None = None  # None: to be detected
    json_separators: tuple[str, str] | None = None  # None: as the chat template writes it
    template_variables: Mapping[str, Any] = field(default_factory=dict)
    schema_prompt: str = DEFAULT_SCHEMA_PROMPT
    profile: Mapping[str, Any] = field(default_factory=dict)


def builtin_folder() -> Path:
    """The chat model that comes with the package: the one folder of ``assets`` with a config."""
    found = sorted(file.parent for file in ASSETS.glob(f"*/{_CONFIG}"))
    if not found:
        raise ModelNotFoundError(
            "The built-in model is not part of this installation.",
            remedy="Install the nearfar package again.",
            data={"name": BUILTIN, "known": []},
        )
    return found[0]


def model_folder(name_or_path: str | Path, settings: Settings | None = None) -> Path:
    """The folder that a name or path means, absolute: the built-in, a configured model, a folder.

    Raises ModelNotFoundError, with the nearest name.
    """
    configured = settings.models if settings else {}
    name = str(name_or_path)
    if isinstance(name_or_path, str) and name in configured:
        target = configured[name].model
        return builtin_folder() if target == BUILTIN else _existing(target)
    if name == BUILTIN:
        return builtin_folder()
    path = Path(name_or_path).expanduser()
    if isinstance(name_or_path, Path) or path.is_dir() or _looks_like_path(name):
        return _existing(path)
    if name == builtin_folder().name:
        return builtin_folder()
    raise _unknown(name, [BUILTIN, *configured])


def find_model(name_or_path: str | Path, settings: Settings | None = None) -> LocalModelInfo:
    """What the model of that name or folder is; see ``model_folder`` and ``read_model``."""
    return read_model(model_folder(name_or_path, settings))


def read_model(folder: Path) -> LocalModelInfo:
    """Read what a model's folder says, and check that its files are there.

    Raises ModelLoadError that names what is missing or broken.
    """
    config = _config(folder)
    own = _own(folder)
    model = config["model"]
    for name in ("tokenizer.json", *_onnx_files(folder, model)):
        _require(folder, name)
    context = int(model["context_length"])
    separators = own.get("json_separators")
    return LocalModelInfo(
        name=str(own.get("name", folder.name)),
        folder=folder,
        architecture=str(model.get("type", "")),
        context_length=context,
        window=min(context, int(config.get("search", {}).get("max_length") or context)),
        size_bytes=folder_size(folder),
        dialect=own.get("dialect"),
        json_separators=(str(separators[0]), str(separators[1])) if separators else None,
        template_variables=own.get("template_variables", {}),
        schema_prompt=str(own.get("schema_prompt", DEFAULT_SCHEMA_PROMPT)),
        profile=own.get("profile", {}),
    )


def folder_size(folder: Path) -> int:
    """Bytes of the files in a folder, those of its own subfolders too."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _existing(path: str | Path) -> Path:
    folder = Path(path).expanduser()
    if folder.is_dir():
        return folder.resolve()
    what = "is a file, not a folder" if folder.exists() else "does not exist"
    raise ModelNotFoundError(
        f"The model folder {folder} {what}.",
        remedy="Give the folder that holds genai_config.json.",
        data={"name": str(path), "known": []},
    )


def _looks_like_path(name: str) -> bool:
    return any(mark in name for mark in ("/", "\\")) or name.startswith((".", "~"))


def _unknown(name: str, known: list[str]) -> ModelNotFoundError:
    nearest = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    return ModelNotFoundError(
        f"No model is called {name!r}, and there is no such folder.{hint}",
        data={"name": name, "known": known, "nearest": nearest[0] if nearest else None},
    )


def _broken(folder: Path, file: str, problem: str, remedy: str) -> ModelLoadError:
    return ModelLoadError(
        f"The model folder {folder} cannot be used: {problem}",
        remedy=remedy,
        data={"folder": str(folder), "file": file},
    )


def _config(folder: Path) -> dict[str, Any]:
    _require(folder, _CONFIG)
    config = _json(folder, _CONFIG)
    model = config.get("model")
    if not isinstance(model, dict):
        raise _broken(folder, _CONFIG, f'{_CONFIG} has no "model".', _CONVERT_AGAIN)
    length = model.get("context_length")
    if not isinstance(length, int) or length < 1:
        raise _broken(
            folder, _CONFIG, f'{_CONFIG} has no "context_length" in "model".', _CONVERT_AGAIN
        )
    return config


_CONVERT_AGAIN = "Convert the model again, or copy its folder again from where it is from."


def _own(folder: Path) -> dict[str, Any]:
    if not (folder / _OWN).is_file():
        return {}
    own = _json(folder, _OWN)
    unknown = sorted(set(own) - _OWN_KEYS)
    if unknown:
        nearest = difflib.get_close_matches(unknown[0], _OWN_KEYS, n=1)
        hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
        raise _broken(
            folder, _OWN, f"{_OWN} has the unknown key {unknown[0]!r}.{hint}", "Mend nearfar.json."
        )
    separators = own.get("json_separators", [",", ":"])
    if not (isinstance(separators, list) and len(separators) == 2):
        raise _broken(
            folder, _OWN, f'{_OWN}: "json_separators" must be two texts.', "Mend nearfar.json."
        )
    return own


def _json(folder: Path, name: str) -> dict[str, Any]:
    try:
        content = json.loads((folder / name).read_text(encoding="utf-8-sig"))
    except (ValueError, OSError) as error:
        raise _broken(folder, name, f"{name} cannot be read: {error}.", _CONVERT_AGAIN) from error
    if not isinstance(content, dict):
        raise _broken(folder, name, f"{name} does not hold an object.", _CONVERT_AGAIN)
    return content


def _onnx_files(folder: Path, model: Mapping[str, Any]) -> list[str]:
    """The ONNX files of the decoder, whole or in a pipeline, and the weights beside them."""
    decoder = model.get("decoder")
    decoder = decoder if isinstance(decoder, dict) else {}
    stages = [s for entry in decoder.get("pipeline", []) for s in entry.values()]
    names = [str(part["filename"]) for part in [decoder, *stages] if part.get("filename")]
    if not names:
        raise _broken(folder, _CONFIG, f"{_CONFIG} names no ONNX file.", _CONVERT_AGAIN)
    for name in names:
        _require(folder, name)
    return [*names, *sorted({w for name in names for w in _external_data(folder / name)})]


def _external_data(file: Path) -> set[str]:
    """The files that an ONNX file keeps its weights in; found without parsing it."""
    if not 0 < file.stat().st_size <= _SCAN_LIMIT_BYTES:
        return set()
    with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as view:
        return {
            view[m.end() : m.end() + m.group(1)[0]].decode("utf-8", "replace")
            for m in _EXTERNAL.finditer(view)
        }


def _require(folder: Path, name: str) -> None:
    file = folder / name
    if not file.is_file():
        raise _broken(
            folder,
            name,
            f"{name} is missing.",
            "Copy the whole folder of the model, or convert it as docs/guides/local-models.md shows.",
        )
    if file.stat().st_size == 0:
        raise _broken(folder, name, f"{name} is empty.", _CONVERT_AGAIN)
    with file.open("rb") as stream:
        if stream.read(len(_LFS)) == _LFS:
            raise _broken(
                folder,
                name,
                f"{name} is a Git LFS pointer, not the file itself.",
                "Run `git lfs pull` in the repository that the model is from.",
            )
