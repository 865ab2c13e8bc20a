"""What goes into a store: texts, vectors and metadata, checked."""

import math
from collections.abc import Iterable, Sized
from typing import Any

import numpy as np
from langchain_core.documents import Document

from nearfar.errors import EmbedderMismatchError, MetadataError, ModelError

from ._vectors import Floats


def with_heading(document: Document) -> str:
    """The text under its heading (``metadata["heading"]``), as a ``text_of`` for a store."""
    heading = document.metadata.get("heading")
    return f"{heading}\n{document.page_content}" if heading else document.page_content


def normalized(vectors: Any, count: int) -> Floats:
    """Float32 rows of length 1; rows of zeros stay. Raises ModelError for what is no such matrix."""
    array = np.asarray(vectors, np.float32)
    if array.ndim != 2 or len(array) != count or not np.isfinite(array).all():
        raise ModelError(
            f"The embedding model gave no {count} vectors of finite numbers.",
            remedy="`nearfar doctor` tries the embedding model.",
            data={"shape": list(array.shape)},
        )
    lengths = np.linalg.norm(array, axis=1, keepdims=True)
    return (array / np.where(lengths > 0, lengths, 1)).astype(np.float32)


def comparable(vector: Any, dimensions: int | None) -> Floats:
    """A vector of length 1 that stands beside those of a store; None: it holds none yet."""
    asked: Floats = normalized([vector], 1)[0]
    if dimensions is not None and len(asked) != dimensions:
        raise EmbedderMismatchError(
            f"A vector of {len(asked)} numbers cannot be compared with those of the store, which "
            f"have {dimensions}.",
            data={"expected": dimensions, "found": len(asked)},
        )
    return asked


def counted(texts: Iterable[str], ids: Sized | None) -> list[str]:
    """The texts, of which there must be as many as ids where there are any."""
    listed = list(texts)
    if ids is not None and len(ids) != len(listed):
        raise ValueError(f"{len(listed)} texts cannot have {len(ids)} ids.")
    return listed


def check_json(value: Any, pointer: str) -> None:
    """Raises MetadataError unless the value comes back from JSON as it went in."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise _not_json(f"{pointer}/{key}", f"the key {key!r} is not a text")
            check_json(inner, f"{pointer}/{key}")
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            check_json(inner, f"{pointer}/{place}")
    elif isinstance(value, float) and not math.isfinite(value):
        raise _not_json(pointer, f"{value} is not a number of JSON")
    elif not (value is None or isinstance(value, str | int | float)):
        raise _not_json(pointer, f"{type(value).__name__} is not a type of JSON")


def _not_json(pointer: str, why: str) -> MetadataError:
    return MetadataError(
        f"The metadata at {pointer or '/'} cannot be kept: {why}.",
        remedy="Use texts, numbers, true, false, null, and lists and dicts of these.",
        data={"pointer": pointer},
    )
