"""The sections about embeddings, and about how documents are found."""

from typing import Annotated, Literal

from pydantic import Field

from ._settings_places import ModelReference
from ._settings_section import Section


class EmbeddingSettings(Section):
    """An embedding model."""

    provider: Literal["local"] = "local"
    """Who runs the model: `local` is this machine."""
    model: ModelReference = "builtin"
    """`builtin`, or a folder with an ONNX embedding model."""
    batch_size: Annotated[int, Field(ge=1, le=4096)] = 8
    """Texts that are embedded in one go. Small batches stay in the processor's cache."""


class RetrievalSettings(Section):
    """How documents are split and found."""

    chunk_tokens: Annotated[int, Field(ge=16, le=4096)] = 200
    """Tokens in a passage, at most."""
    chunk_overlap: Annotated[int, Field(ge=0, le=2048)] = 40
    """Tokens that a passage repeats from the one before; at most half of `chunk_tokens` is used."""
    k: Annotated[int, Field(ge=1, le=1000)] = 8
    """Passages that a search returns."""
    fetch_k: Annotated[int, Field(ge=1, le=10_000)] = 40
    """Candidates that each ranking brings before they are joined."""
    max_file_mb: Annotated[float, Field(gt=0)] = 100
    """Files over this size, in MiB, are not read."""
    max_pages: Annotated[int, Field(ge=1)] = 5000
    """PDF files with more pages are not read."""
    read_timeout_s: Annotated[float, Field(gt=0)] = 120
    """Seconds that reading one file may take; then it is given up and reported."""
    exclude: list[str] = Field(default=[])
    """Patterns (`*.log`, `drafts/*`) of files and folders that are passed over in folders."""
    cache_mb: Annotated[int, Field(ge=0)] = 1024
    """Disk space, in MiB, for the indexes that `nearfar ask --docs` keeps; the oldest go first."""
