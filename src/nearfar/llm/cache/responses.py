"""A cache of answers, for routers and for LangChain."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_core.caches import BaseCache
from langchain_core.outputs import ChatGeneration, Generation

from nearfar.errors import ModelError, StorageError

from .codec import decode, encode
from .entries import CacheStats, Entry, NewEntry, Turn
from .file_store import FileStore
from .keys import Asked, Key, Uncacheable, key_of, key_of_prompt, word_digests

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings
    from numpy import float32
    from numpy.typing import NDArray

    from nearfar.settings import CacheSettings, Settings

    from .redis_store import RedisStore

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
    """Answers by the digest of their requests, in cache.db under the home folder (or at ``path``), or
    in the Redis of the options.

    Caches of one file are told apart by ``name``. A ``semantic`` one also gives the answer of a
    request that differs in nothing but the words of its last turn, if those are similar enough;
    it needs ``embeddings``. ``tenant`` holds for what LangChain asks; a router's requests bring their
    own. One object serves all threads and event loops; several processes share the file.

    Raises StorageError or a subclass where the file cannot be used; a damaged one is replaced. A Redis
    that is away makes ``lookup`` and ``update`` do nothing, with a warning.
    """

    def __init__(
        self,
        name: str = "default",
        options: "CacheSettings | None" = None,
        *,
        embeddings: "Embeddings | None" = None,
        tenant: str | None = None,
        path: Path | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.name = name
        from nearfar.settings import CacheSettings

        self.options = options or CacheSettings()
        self.tenant = tenant
        self._store = _store(name, self.options, path)
        self._clock = clock
        self._embeddings = embeddings
        if self.options.kind == "semantic" and embeddings is None:
            from nearfar.llm.embeddings import LocalEmbeddings

            self._embeddings = LocalEmbeddings()

    @classmethod
    def open(cls, name: str, settings: "Settings", *, tenant: str | None = None) -> "ResponseCache":
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
        found = self._store.get(key.exact, after)
        turn = None
        if found is None and key.context is not None and key.text is not None:
            turn = self._turn(key.text)
            found = self._nearest(key.context, turn, after)
        hit = self._hit(found) if found else None
        self._store.asked(found if hit else None, self._clock())
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
        return self._store.is_near

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
        room = int(self.options.max_mb * 2**20)
        ttl_s = self.options.ttl_s
        return self._store.put(entry, now=self._clock(), ttl_s=ttl_s, max_bytes=room)

    async def akeep(
        self, found: Found, answer: Sequence[Generation], *, model: str, candidate: str = ""
    ) -> bool:
        """As ``keep``, in a thread."""
        return await asyncio.to_thread(self.keep, found, answer, model=model, candidate=candidate)

    # ------------------------------------------------------------------ for people

    def remove(self, *, model: str | None = None, tenant: str | None = None) -> int:
        """Delete the answers of a model, of a tenant, or (with neither) all; how many those were."""
        return self._store.remove(model=model, tenant=tenant)

    def stats(self) -> CacheStats:
        """What it holds and has done."""
        return self._store.stats()

    # ------------------------------------------------------------------ as LangChain has it

    def lookup(self, prompt: str, llm_string: str) -> Sequence[Generation] | None:
        """The answer to this prompt, from a model with these parameters; None where there is none."""
        try:
            hit = self.find(self._prompt_key(prompt, llm_string)).hit
        except StorageError as error:
            self._away(error)
            return None
        return hit.generations if hit else None

    def update(self, prompt: str, llm_string: str, return_val: Sequence[Generation]) -> None:
        """Store a whole answer; one that was cut off is not stored."""
        if not all(_is_whole(generation) for generation in return_val):
            return
        key = self._prompt_key(prompt, llm_string)
        turn = self._turn(key.text) if key.text is not None else None
        try:
            self.keep(Found(key, turn=turn), return_val, model=_model_of(return_val))
        except StorageError as error:
            self._away(error)

    def clear(self, **only: Any) -> None:
        """As ``remove``: ``model`` and ``tenant`` narrow it."""
        self.remove(**only)

    # ------------------------------------------------------------------ inside

    def _away(self, error: StorageError) -> None:
        """A store elsewhere that is away is none, with a warning; a file that cannot be used is an error."""
        if not self._store.may_be_away:
            raise error
        _log.warning("Cache %s is passed over: %s", self.name, error.message)

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
        return self._store.nearest(context, turn, after=after, threshold=self.options.threshold)

    def _hit(self, found: Entry) -> Hit | None:
        generations = decode(found.value)
        if generations is None:  # not of this version, or not ours
            return None
        age = max(0.0, self._clock() - found.created)
        return Hit(generations, found.candidate, age, found.similarity)


def _store(name: str, options: "CacheSettings", path: Path | None) -> "FileStore | RedisStore":
    if options.url is None:
        return FileStore(name, path)
    from .redis_store import RedisStore

    return RedisStore(options.url.get_secret_value(), name)


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
