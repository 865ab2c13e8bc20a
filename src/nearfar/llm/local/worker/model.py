"""A model folder: its facts, its tokenizer, and the generators of a loaded model."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nearfar.errors import EngineMemoryError, ModelLoadError, NearfarError

_MEMORY_WORDS = ("bad_alloc", "failed to allocate", "out of memory", "outofmemory", "memoryerror")


@dataclass(frozen=True)
class ModelFacts:
    """What a folder's genai_config.json says, as far as the engine needs it."""

    folder: Path
    context_length: int
    usable_window: int
    vocab_size: int
    end_ids: tuple[int, ...]
    kv_values_per_token: int  # numbers in the key/value state, over all layers
    own_providers: frozenset[str]  # those that the folder itself gives options for

    def kv_bytes(self, max_length: int, provider: str) -> int:
        """An estimate: 32-bit numbers on the CPU, 16-bit elsewhere, and never nothing."""
        width = 4 if provider == "cpu" else 2
        return max(self.kv_values_per_token * width * max_length, 64 * 1024)


def read_facts(folder: Path) -> ModelFacts:
    """The facts; ModelLoadError names what is missing or damaged."""
    config = _read_json(folder, "genai_config.json")
    try:
        model = config["model"]
        decoder = model["decoder"]
        context = int(model["context_length"])
        search = int(config.get("search", {}).get("max_length") or context)
        ends = model.get("eos_token_id", [])
        heads = decoder.get("num_key_value_heads") or decoder.get("num_attention_heads") or 0
        layers, head_size = decoder.get("num_hidden_layers") or 0, decoder.get("head_size") or 0
        facts = ModelFacts(
            folder=folder,
            context_length=context,
            usable_window=min(context, search),
            vocab_size=int(model["vocab_size"]),
            end_ids=tuple(ends) if isinstance(ends, list) else (int(ends),),
            kv_values_per_token=2 * int(layers) * int(heads) * int(head_size),
            own_providers=frozenset(_provider_names(model)),
        )
        filename = decoder.get("filename")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _broken(folder, "genai_config.json", f"lacks or garbles {error}") from error
    if filename and not (folder / filename).is_file():
        raise _broken(folder, filename, "is missing")
    return facts


def read_tokenizer(folder: Path) -> str:
    """The text of tokenizer.json."""
    path = folder / "tokenizer.json"
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise _broken(folder, "tokenizer.json", "is missing") from error
    except (OSError, UnicodeDecodeError) as error:
        raise _broken(folder, "tokenizer.json", f"cannot be read: {error}") from error


def _read_json(folder: Path, name: str) -> dict[str, Any]:
    if not folder.is_dir():
        raise ModelLoadError(f"There is no folder {folder}.", data={"folder": str(folder)})
    try:
        value = json.loads((folder / name).read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise _broken(folder, name, "is missing") from error
    except (OSError, ValueError) as error:
        raise _broken(folder, name, f"cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise _broken(folder, name, "is not a JSON object")
    return value


def _broken(folder: Path, name: str, what: str) -> ModelLoadError:
    return ModelLoadError(
        f"The model folder {folder} cannot be used: {name} {what}.",
        data={"folder": str(folder), "file": name},
    )


def _provider_names(value: Any) -> list[str]:
    """Every name under any ``provider_options``, in small letters, of the decoder and its parts."""
    names: list[str] = []
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "provider_options" and isinstance(item, list):
                names.extend(
                    name.lower().removesuffix("executionprovider")
                    for entry in item
                    if isinstance(entry, dict)
                    for name in entry
                )
            else:
                names.extend(_provider_names(item))
    elif isinstance(value, list):
        for item in value:
            names.extend(_provider_names(item))
    return names


class LoadedModel:
    """An onnxruntime-genai model in memory."""

    def __init__(self, facts: ModelFacts, model: Any, provider: str) -> None:
        self.facts = facts
        self.provider = provider
        self._model = model

    def new_generator(self, max_length: int) -> "Generator":
        """An empty state for at most ``max_length`` tokens."""
        import onnxruntime_genai as og

        params = og.GeneratorParams(self._model)
        params.set_search_options(max_length=max_length, do_sample=False)
        return Generator(og.Generator(self._model, params))

    @property
    def device(self) -> str:
        """Where the library says the model is."""
        return str(getattr(self._model, "device_type", ""))


class Generator:
    """The four calls that every version of the library has, and no sampling."""

    def __init__(self, native: Any) -> None:
        self._native = native

    def append(self, tokens: Sequence[int]) -> None:
        """Compute the states of ``tokens`` after those that are there."""
        import numpy as np

        self._native.append_tokens(np.asarray(tokens, dtype=np.int32))

    def logits(self) -> Any:
        """Of the last token that was appended."""
        return self._native.get_logits()

    def rewind(self, length: int) -> None:
        """Forget all after the first ``length`` tokens."""
        self._native.rewind_to(length)

    def __len__(self) -> int:
        return int(self._native.token_count())


def as_nearfar_error(error: BaseException, doing: str) -> NearfarError:
    """The typed error for what the library raised while ``doing`` something."""
    if isinstance(error, NearfarError):
        return error
    text = str(error)
    if isinstance(error, MemoryError) or any(word in text.lower() for word in _MEMORY_WORDS):
        return EngineMemoryError(f"The model ran out of memory while {doing}: {text[:300]}")
    from nearfar.errors import ModelError

    return ModelError(
        f"The model failed while {doing}: {type(error).__name__}: {text[:500]}",
        remedy="Try again; `nearfar doctor` finds lasting causes.",
    )
