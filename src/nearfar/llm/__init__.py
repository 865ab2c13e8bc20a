"""Everything that turns messages into a reply, and texts into vectors."""

# `embeddings` the function shares its name with its module. Importing it here, at once, lets the
# function win whichever of the two is asked for first.
from .embeddings import LocalEmbeddings, embeddings

__all__ = ["LocalEmbeddings", "embeddings"]
