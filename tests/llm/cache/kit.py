"""What the tests of caches share: an embedding model without a model, a clock, routers."""

import math
import re
import zlib
from dataclasses import dataclass
from typing import Any

from langchain_core.embeddings import Embeddings
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration

from nearfar.llm.cache import Asked, ResponseCache
from nearfar.llm.cache.file import CacheFile
from nearfar.llm.cache.file_store import FileStore
from nearfar.llm.router import Candidate, Router, RouterOptions
from nearfar.settings import CacheSettings
from nearfar.testing.fault_server import FaultServer
from tests.llm.router.upstreams import model_on


class Bag(Embeddings):
    """Texts with the same words have the same vector, whatever their order."""

    fingerprint = "bag"

    def embed_query(self, text: str) -> list[float]:
        vector = [0.0] * 64
        for word in re.findall(r"\w+", text.casefold()):
            vector[zlib.crc32(word.encode()) % 64] += 1.0
        length = math.sqrt(sum(x * x for x in vector)) or 1.0
        return [x / length for x in vector]

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]


@dataclass
class Clock:
    """Time that passes when it is told to."""

    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def answer(text: str, **metadata: Any) -> list[ChatGeneration]:
    message = AIMessage(text, response_metadata={"finish_reason": "stop", **metadata})
    return [ChatGeneration(message=message)]


def store(cache: ResponseCache, asked: Asked, text: str, **names: str) -> None:
    """Store an answer as a router does."""
    found = cache.find(cache.key(asked))
    assert found.hit is None
    assert cache.keep(found, answer(text), model=names.get("model", "m"), candidate="c")


def lookup(cache: ResponseCache, asked: Asked) -> str | None:
    """The stored answer's text."""
    hit = cache.find(cache.key(asked)).hit
    return hit.generations[0].text if hit else None


def file_of(cache: ResponseCache) -> CacheFile:
    """The file that a cache is in."""
    assert isinstance(cache._store, FileStore)
    return cache._store.file


def router_on(server: FaultServer, name: str = "a", **options: Any) -> Router:
    """A router with a cache over one model; ``options`` are the cache's."""
    candidate = Candidate(name, model_on(server, "lean", name), provider="openai-compatible")
    cache = ResponseCache("kept", CacheSettings(**options), embeddings=Bag())
    return Router(
        candidates=[candidate],
        options=RouterOptions(first_token_s=5, stall_s=5, deadline_s=20),
        responses=cache,
    )
