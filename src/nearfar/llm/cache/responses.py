"""A cache of answers, for routers and for LangChain."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_core.caches import BaseCache
from langchain_core.embeddings import Embeddings
from langchain_core.outputs import ChatGeneration, Generation

from nearfar.errors import ModelError, StorageError
from nearfar.settings import CacheSettings, Settings

from . import entries
from .codec import decode, encode
from .entries import CacheStats, Entry, NewEntry, Turn
from .file import CacheFile, default_path
from .keys import Asked, Key, Uncacheable, key_of, key_of_prompt, word_digests
from .upkeep import clear, stats

if TYPE_CHECKING:
    from numpy import float32
    from numpy.typing import NDArray

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Hit:
    """A stored answer. ``similarity`` is None for the same request."""

    generations: Sequence[Generation]
    candidate: str
    age_s: float
    similarity: float | None = None

    @property
    def kind(self) -> str:
        """How it was found."""
        return "exact" if self.similarity is None else "semantic"


@dataclass(frozen=True)
class Found:
    """The outcome of a look: a hit, or what storing the answer will need."""

    key: Key
    hit: Hit | None = None
    turn: Turn | None = None


class ResponseCache(BaseCache):
    """Answers by the digest of their requests, in cache.db under the home folder (or at ``path``).

    Caches of one file are told apart by ``name``. A ``semantic`` one also gives the answer of a
    request that differs in nothing but the words of its last turn, if those are similar enough;
    it needs ``embeddings``. ``tenant`` holds for what LangChain asks; a router's requests bring their
    own. One object serves all threads and event loops; several processes share the file.

    Raises StorageError or a subclass where the file cannot be used; a damaged one is replaced.
    """

    def __init__(
        self,
        name: str = "default",
        options: CacheSettings | None = None,
        *,
        embeddings: Embeddings | None = None,
        tenant: str | None = None,
        path: Path | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.name = name
        self.options = options or CacheSettings()
        self.tenant = tenant
        self._path = path
        self._clock = clock
        self._embeddings = embeddings
        if self.options.kind == "semantic" and embeddings is None:
            from nearfar.llm.embeddings import LocalEmbeddings

            self._embeddings = LocalEmbeddings()

    @classmethod
    def open(cls, name: str, settings: Settings, *, tenant: str | None = None) -> "ResponseCache":
        """The cache of that name in the settings."""
        options = settings.caches[name]
        model = None
        if options.kind == "semantic":
            from nearfar.llm.embeddings import embeddings

            model = embeddings(settings=settings)
        return cls(name, options, embeddings=model, tenant=tenant)

    # ------------------------------------------------------------------ for routers

    def key(self, asked: Asked) -> Key:
        """The request's key. Raises Uncacheable, with the reason."""
        if asked.is_sampled and not self.options.sampled:
            raise Uncacheable("its temperature is above 0, and the cache is not `sampled`")
        return key_of(asked, vectors=self._vectors)

    def find(self, key: Key) -> Found:
        """Look for an answer, and count what came of it."""
        after = self._clock() - self.options.ttl_s
        found = self._file.read(lambda c: entries.get(c, self.name, key.exact, after))
        turn = None
        if found is None and key.context is not None and key.text is not None:
            turn = self._turn(key.text)
            found = self._nearest(key.context, turn, after)
        hit = self._hit(found) if found else None
        self._count(found.id if found and hit else None)
        return Found(key, hit, turn)

    async def afind(self, key: Key) -> Found:
        """As ``find``, in a thread."""
        return await asyncio.to_thread(self.find, key)

    async def aunseen(self, key: Key) -> Found:
        """What storing an answer needs, without a look."""
        wanted = key.context is not None and key.text is not None
        turn = await asyncio.to_thread(self._turn, key.text or "") if wanted else None
        return Found(key, turn=turn)

    @property
    def is_near(self) -> bool:
        """Whether what it holds stays on this machine."""
        return True

    def keep(
        self, found: Found, answer: Sequence[Generation], *, model: str, candidate: str = ""
    ) -> bool:
        """Store the answer to a request that was looked for; False if it cannot be stored.

        One that calls tools is for the same request only: arguments are not to be had from similar words.
        """
        value = encode(answer)
        if value is None:
            return False
        turn = None if _calls_tools(answer) else found.turn
        key = found.key
        entry = NewEntry(key.exact, key.tenant, model, candidate, value, key.context, turn)
        now = self._clock()
        after = now - self.options.ttl_s
        room = int(self.options.max_mb * 2**20)
        return self._file.write(
            lambda c: entries.put(c, self.name, entry, now=now, after=after, max_bytes=room)
        )

    async def akeep(
        self, found: Found, answer: Sequence[Generation], *, model: str, candidate: str = ""
    ) -> bool:
        """As ``keep``, in a thread."""
        return await asyncio.to_thread(self.keep, found, answer, model=model, candidate=candidate)

    # ------------------------------------------------------------------ for people

    def remove(self, *, model: str | None = None, tenant: str | None = None) -> int:
        """Delete the answers of a model, of a tenant, or (with neither) all; how many those were."""
        return clear(self.name, model=model, tenant=tenant, path=self._path)

    def stats(self) -> CacheStats:
        """What it holds and has done."""
        found = stats(path=self._path)
        return next((one for one in found if one.name == self.name), CacheStats(self.name))

    # ------------------------------------------------------------------ as LangChain has it

    def lookup(self, prompt: str, llm_string: str) -> Sequence[Generation] | None:
        """The answer to this prompt, from a model with these parameters; None where there is none."""
        hit = self.find(self._prompt_key(prompt, llm_string)).hit
        return hit.generations if hit else None

    def update(self, prompt: str, llm_string: str, return_val: Sequence[Generation]) -> None:
        """Store a whole answer; one that was cut off is not stored."""
        if not all(_is_whole(generation) for generation in return_val):
            return
        key = self._prompt_key(prompt, llm_string)
        turn = self._turn(key.text) if key.text is not None else None
        self.keep(Found(key, turn=turn), return_val, model=_model_of(return_val))

    def clear(self, **only: Any) -> None:
        """As ``remove``: ``model`` and ``tenant`` narrow it."""
        self.remove(**only)

    # ------------------------------------------------------------------ inside

    @property
    def _file(self) -> CacheFile:
        return CacheFile.at(self._path or default_path())

    @property
    def _vectors(self) -> str | None:
        """Whose vectors they are: those of another model say nothing."""
        if self._embeddings is None:
            return None
        fallback = type(self._embeddings).__qualname__
        return str(getattr(self._embeddings, "fingerprint", fallback))

    def _prompt_key(self, prompt: str, llm_string: str) -> Key:
        return key_of_prompt(prompt, llm_string, self.tenant, vectors=self._vectors)

    def _turn(self, text: str) -> Turn | None:
        import numpy as np

        if self._embeddings is None:
            return None
        try:
            vector: NDArray[float32]
            vector = np.asarray(self._embeddings.embed_query(text), np.float32)
        except ModelError as error:
            _log.warning("Cache %s finds no similar questions: %s", self.name, error.message)
            return None
        length = float(np.linalg.norm(vector))
        if not length:
            return None
        return Turn((vector / length).astype(np.float32), *word_digests(text))

    def _nearest(self, context: bytes, turn: Turn | None, after: float) -> Entry | None:
        if turn is None:
            return None
        least = self.options.threshold
        return self._file.read(
            lambda c: entries.nearest(c, self.name, context, turn, after=after, threshold=least)
        )

    def _hit(self, found: Entry) -> Hit | None:
        generations = decode(found.value)
        if generations is None:  # not of this version, or not ours
            return None
        age = max(0.0, self._clock() - found.created)
        return Hit(generations, found.candidate, age, found.similarity)

    def _count(self, used: int | None) -> None:
        """Where the file cannot be written now, an answer is worth more than its count."""
        now = self._clock()
        try:
            if used is None:
                self._file.write(lambda c: entries.count(c, self.name, misses=1))
            else:
                self._file.write(lambda c: entries.hit(c, self.name, used, now))
        except StorageError as error:
            _log.debug("Cache %s did not count a request: %s", self.name, error.message)


def _calls_tools(answer: Sequence[Generation]) -> bool:
    messages = [g.message for g in answer if isinstance(g, ChatGeneration)]
    return any(getattr(message, "tool_calls", None) for message in messages)


def _is_whole(generation: Generation) -> bool:
    """Whatever says nothing about its end is taken as whole."""
    told = dict(generation.generation_info or {})
    if isinstance(generation, ChatGeneration):
        told |= generation.message.response_metadata
        if getattr(generation.message, "invalid_tool_calls", None):
            return False
    ends = [str(told.get(name)).lower() for name in ("finish_reason", "stop_reason", "done_reason")]
    return not {"length", "max_tokens", "content_filter"} & set(ends)


def _model_of(answer: Sequence[Generation]) -> str:
    metadata = [g.message.response_metadata for g in answer if isinstance(g, ChatGeneration)]
    return next((str(m["model_name"]) for m in metadata if m.get("model_name")), "")
