"""A cache in Redis, which several machines can share. Entries leave by Redis' own clock.

Space is Redis' own matter (``maxmemory`` and its policy); what it evicts is not counted.
"""

import atexit
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from nearfar.errors import MissingPackageError, StorageError

from .entries import CacheStats, Entry, NewEntry, Turn
from .upkeep import tenant_digest

if TYPE_CHECKING:
    from redis import Redis

T = TypeVar("T")
TIMEOUT_S = 1.0
"""For a connection and for an answer: a cache is not worth a long wait."""
AWAY_S = 5.0
"""A Redis that did not answer is left alone for so long."""
_BATCH = 500
_HERE = frozenset({"localhost", "127.0.0.1", "::1"})


class RedisStore:
    """The entries of the cache called ``name`` in the Redis at ``url``; thread-safe.

    Raises StorageError where Redis does not answer, at once while it is known to be away.
    """

    may_be_away = True

    def __init__(self, url: str, name: str) -> None:
        self.name = name
        place = urlsplit(url)
        self.is_near = place.scheme == "unix" or place.hostname in _HERE
        self._place = (
            place.path if place.scheme == "unix" else f"{place.hostname}:{place.port or 6379}"
        )
        self._prefix = f"nearfar:cache:{name}:"
        self._counts = f"{self._prefix}counts"
        self._client = _client(url)
        self._away_until = 0.0

    def get(self, key: bytes, after: float) -> Entry | None:
        """The answer to the same request that was stored after that time."""
        text = self._ask(lambda redis: redis.get(self._key(key)))
        found = _plain(text)
        if found is None or found["created"] <= after:
            return None
        return Entry(0, found["created"], found["candidate"], found["value"])

    def nearest(
        self,
        context: bytes,  # noqa: ARG002  (a store's signature)
        turn: Turn,  # noqa: ARG002
        *,
        after: float,  # noqa: ARG002
        threshold: float,  # noqa: ARG002
    ) -> Entry | None:
        """None: the settings allow exact caches only."""
        return None

    def put(self, entry: NewEntry, *, now: float, ttl_s: float, max_bytes: int) -> bool:
        """Store an answer; False if it is too large."""
        if entry.bytes > max_bytes:
            return False
        fields = {
            "created": now,
            "model": entry.model,
            "candidate": entry.candidate,
            "tenant": entry.tenant.hex(),
            "value": entry.value,
        }

        def work(redis: "Redis") -> None:
            with redis.pipeline(transaction=False) as steps:
                steps.set(self._key(entry.key), json.dumps(fields), px=max(1, int(ttl_s * 1000)))
                steps.hincrby(self._counts, "stored", 1)
                steps.execute()

        self._ask(work)
        return True

    def asked(self, used: Entry | None, now: float) -> None:  # noqa: ARG002  (a store's signature)
        """Count a hit or a miss."""
        self._ask(lambda redis: redis.hincrby(self._counts, "hits" if used else "misses", 1))

    def remove(self, *, model: str | None, tenant: str | None) -> int:
        """Delete the answers of a model, of a tenant, or all; how many those were."""
        owner = None if tenant is None else tenant_digest(tenant).hex()

        def goes(text: Any) -> bool:
            found = _plain(text)
            if found is None:
                return False
            of_model = model is None or model in (found["model"], found["candidate"])
            return of_model and owner in (None, found["tenant"])

        def work(redis: "Redis") -> int:
            removed = 0
            for keys, texts in self._all(redis):
                gone = [k for k, text in zip(keys, texts, strict=True) if goes(text)]
                removed += int(redis.unlink(*gone)) if gone else 0
            return removed

        return self._ask(work)

    def stats(self) -> CacheStats:
        """What it holds and has done."""

        def work(redis: "Redis") -> CacheStats:
            sizes = [len(text) for _, texts in self._all(redis) for text in texts if text]
            found: Any = redis.hgetall(self._counts)
            counts = {k.decode(): int(v) for k, v in found.items()}
            return CacheStats(self.name, len(sizes), sum(sizes), **counts, evicted=None)

        return self._ask(work)

    def _all(self, redis: "Redis") -> Iterator[tuple[list[Any], list[Any]]]:
        pattern = re.sub(r"([*?\[\]\\])", r"\\\1", self._prefix) + "e:*"
        batch: list[Any] = []
        for key in redis.scan_iter(match=pattern, count=_BATCH):
            batch.append(key)
            if len(batch) == _BATCH:
                yield batch, list(redis.mget(batch))
                batch = []
        if batch:
            yield batch, list(redis.mget(batch))

    def _key(self, digest: bytes) -> str:
        return f"{self._prefix}e:{digest.hex()}"

    def _ask(self, work: "Callable[[Redis], T]") -> T:
        from redis.exceptions import RedisError

        if time.monotonic() < self._away_until:
            raise self._away("it did not answer a moment ago")
        try:
            return work(self._client)
        except (RedisError, OSError) as error:
            self._away_until = time.monotonic() + AWAY_S
            raise self._away(type(error).__name__) from None  # its words may hold the URL

    def _away(self, why: str) -> StorageError:
        return StorageError(
            f"The Redis of the cache {self.name!r} at {self._place} cannot be used: {why}.",
            remedy="Start it, or check the cache's `url` in nearfar.yaml.",
            data={"cache": self.name},
        )


def _plain(text: Any) -> dict[str, Any] | None:
    """An entry; None for what is not one of ours."""
    try:
        found = json.loads(text) if text else None
    except ValueError:
        return None
    wanted = {"created", "model", "candidate", "tenant", "value"}
    return found if isinstance(found, dict) and wanted <= found.keys() else None


_clients: "dict[str, Redis]" = {}
_lock = threading.Lock()


def _client(url: str) -> "Redis":
    """One pool of connections for each server and process."""
    try:
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry
    except ImportError:
        raise MissingPackageError(
            "A cache in Redis needs the package redis.",
            remedy="pip install 'nearfar[redis]'",
            data={"package": "redis"},
        ) from None
    with _lock:
        if url not in _clients:
            # One more try at once: a connection that was idle for long may have been cut.
            _clients[url] = redis.Redis.from_url(
                url,
                socket_timeout=TIMEOUT_S,
                socket_connect_timeout=TIMEOUT_S,
                retry=Retry(NoBackoff(), 1),
            )
        return _clients[url]


def close_all() -> None:
    """Let go of all connections; the next use opens others."""
    with _lock:
        for client in _clients.values():
            client.close()
        _clients.clear()


atexit.register(close_all)
