"""What an index needs to know of an embedding model, also of one that is not ours."""

import re
from typing import TYPE_CHECKING

from .splitting import TokenOffsets

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings

# About what WordPiece and its kind do: a long word is several tokens, a sign is one.
_TOKEN = re.compile(r"\w{1,6}|[^\w\s]")


def fingerprint(embedding: "Embeddings") -> str:
    """Equal for models that give equal vectors, as far as they say so."""
    own = getattr(embedding, "fingerprint", None)
    if isinstance(own, str):
        return own
    kind = type(embedding)
    model = getattr(embedding, "model", None) or getattr(embedding, "model_name", "")
    return f"{kind.__module__}.{kind.__qualname__}:{model}"


def name_of(embedding: "Embeddings") -> str:
    """For people."""
    for attribute in ("name", "model", "model_name"):
        if isinstance(value := getattr(embedding, attribute, None), str) and value:
            return value
    return type(embedding).__name__


def window_of(embedding: "Embeddings") -> int | None:
    """How many tokens of a text the model sees; None where it does not say."""
    value = getattr(embedding, "max_tokens", None)
    return value if isinstance(value, int) else None


def offsets_of(embedding: "Embeddings") -> TokenOffsets:
    """The model's own tokens, or words in pieces where it does not show them."""
    own: TokenOffsets | None = getattr(embedding, "token_offsets", None)
    return own if callable(own) else _words


def _words(text: str) -> list[tuple[int, int]]:
    return [found.span() for found in _TOKEN.finditer(text)]
