"""What a folder with an embedding model says about itself.

A folder holds ``model.onnx`` (or ``onnx/model.onnx``) and ``tokenizer.json``. What else there is to
know stands in ``nearfar.json``; without it, the files that sentence-transformers writes are read,
and what those do not say is assumed: mean pooling, normalised.
"""

import hashlib
import json
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nearfar.errors import ModelLoadError, ModelNotFoundError

BUILTIN = Path(__file__).parent / "assets" / "all-minilm-l6-v2"
FACTS_FILE = "nearfar.json"
TOKENIZER_FILE = "tokenizer.json"
MODEL_FILES = ("model.onnx", "onnx/model.onnx")
DEFAULT_MAX_TOKENS = 512

Pooling = Literal["mean", "cls", "last", "none"]


class EmbeddingFacts(BaseModel):
    """The part of ``nearfar.json`` that says how the model is run."""

    model_config = ConfigDict(extra="ignore", frozen=True, protected_namespaces=())

    name: str
    model_file: str = MODEL_FILES[0]
    max_tokens: int = Field(default=DEFAULT_MAX_TOKENS, ge=8)
    """Tokens of one input, the special ones included."""
    pooling: Pooling = "mean"
    """How token vectors become one; ``none``: the model's output is the text's vector already."""
    normalize: bool = True
    output: str | None = None
    """The name of the model's output; unset: its first."""
    query_prefix: str = ""
    document_prefix: str = ""


class EmbeddingFolder:
    """A folder with an embedding model, not yet loaded.

    Raises ModelNotFoundError if there is no such folder, ModelLoadError if a file that is needed is
    missing or says something that makes no sense.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_dir():
            raise ModelNotFoundError(
                f"There is no folder with an embedding model at {path}.",
                remedy="Name a folder that holds model.onnx and tokenizer.json, or `builtin`.",
                data={"name": str(path), "known": ["builtin"]},
            )
        self.path = path
        self.facts = self._read_facts()
        self.model_file = self._require(self.facts.model_file)
        self.tokenizer_file = self._require(TOKENIZER_FILE)

    @cached_property
    def fingerprint(self) -> str:
        """Equal for folders that embed alike: a digest of model, tokenizer and how they are run."""
        how = self.facts.model_dump_json(exclude={"name", "model_file"}, exclude_defaults=True)
        digest = hashlib.sha256(how.encode())
        for file in sorted(self._content(), key=lambda file: file.name):
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
        return f"sha256:{digest.hexdigest()[:32]}"

    def broken(self, message: str) -> ModelLoadError:
        """The error that says what is wrong with this folder."""
        return ModelLoadError(
            f"The embedding model in {self.path} cannot be used: {message}",
            remedy="Export or download the model again.",
            data={"folder": str(self.path)},
        )

    def _content(self) -> list[Path]:
        beside = self.model_file.parent.glob(f"{self.model_file.name}*data")  # large weights
        return [self.model_file, self.tokenizer_file, *beside]

    def _require(self, name: str) -> Path:
        file = self.path / name
        if not file.is_file():
            raise self.broken(f"{name} is missing.")
        return file

    def _read_facts(self) -> EmbeddingFacts:
        declared = self._json(FACTS_FILE) or self._detected()
        try:
            return EmbeddingFacts(**{"name": self.path.name, **declared})
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise self.broken(f"{FACTS_FILE}: {where}: {first['msg']}.") from error

    def _detected(self) -> dict[str, Any]:
        found: dict[str, Any] = {
            "model_file": next(
                (f for f in MODEL_FILES if (self.path / f).is_file()), MODEL_FILES[0]
            )
        }
        limits = (
            self._json("sentence_bert_config.json").get("max_seq_length"),
            self._json("config.json").get("max_position_embeddings"),
        )
        found["max_tokens"] = next((limit for limit in limits if limit), DEFAULT_MAX_TOKENS)
        pooling = self._json("1_Pooling/config.json")
        for key, kind in (("pooling_mode_cls_token", "cls"), ("pooling_mode_lasttoken", "last")):
            if pooling.get(key):
                found["pooling"] = kind
        return found

    def _json(self, name: str) -> dict[str, Any]:
        """A JSON object of the folder; empty if the file is not there."""
        try:
            value = json.loads((self.path / name).read_text("utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise self.broken(f"{name} cannot be read ({type(error).__name__}).") from error
        if not isinstance(value, dict):
            raise self.broken(f"{name} is not a JSON object.")
        return value
