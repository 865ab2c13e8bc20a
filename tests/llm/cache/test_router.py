"""Routers with a cache: what is replayed, what is stored, and what a broken cache does to a request."""

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.outputs import ChatGeneration

from nearfar.errors import NearfarError, UsageError
from nearfar.llm import chat_model
from nearfar.llm.cache import Hit, ResponseCache, stats, warm
from nearfar.llm.cache.replay import replayed
from nearfar.llm.router import Router
from nearfar.settings import CacheSettings, Settings
from nearfar.testing.fault_server import FaultServer, Reply, Status, ToolCall
from tests.llm.cache.kit import Bag, router_on
from tests.llm.router.upstreams import Way, ask, merged

WAYS: tuple[Way, ...] = ("invoke", "ainvoke", "stream", "astream")
TEXT = " The  answer\nis: forty-two, né? \n"


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer(default=Reply(TEXT, finish_reason="stop")) as running:
        yield running


def told(message: AIMessage) -> dict[str, Any]:
    return cast("dict[str, Any]", message.response_metadata["nearfar"]["cache"])


def without_receipt(message: AIMessage) -> tuple[Any, ...]:
    metadata = {k: v for k, v in message.response_metadata.items() if k != "nearfar"}
    usage = {k: v for k, v in (message.usage_metadata or {}).items() if k != "total_cost"}
    return message.content, message.tool_calls, metadata, usage


class TestHits:
    @pytest.mark.parametrize("first", WAYS)
    @pytest.mark.parametrize("second", WAYS)
    async def test_each_way_replays_what_any_way_stored(
        self, server: FaultServer, first: Way, second: Way
    ) -> None:
        router = router_on(server)
        original, replay = await ask(router, first), await ask(router, second)
        assert len(server.requests) == 1
        assert original.content == TEXT
        assert without_receipt(replay) == without_receipt(original)
        assert told(original) == {"hit": False, "kind": "exact", "stored": True}
        assert told(replay)["hit"] is True
        assert told(replay)["kind"] == "exact"
        assert 0 <= told(replay)["age_s"] < 60

    async def test_a_hit_costs_nothing_and_names_who_answered(self, server: FaultServer) -> None:
        router = router_on(server)
        await router.ainvoke("x")
        replay = await router.ainvoke("x")
        receipt = replay.response_metadata["nearfar"]
        assert (receipt["cost_usd"], receipt["attempts"]) == (0, [])
        assert (receipt["answered_by"], receipt["local"]) == ("a", True)
        assert replay.response_metadata["model_name"] == "a"
        assert cast("dict[str, Any]", replay.usage_metadata)["total_cost"] == 0

    async def test_a_stream_comes_in_pieces_with_metadata_on_the_last(
        self, server: FaultServer
    ) -> None:
        router = router_on(server)
        await router.ainvoke("x")
        chunks = [chunk async for chunk in router.astream("x")]
        assert len([c for c in chunks if c.content]) > 3
        assert [c for c in chunks if c.usage_metadata or "nearfar" in c.response_metadata] == [
            next(c for c in chunks if c.chunk_position == "last")
        ]
        assert merged(chunks).content == TEXT

    async def test_calls_of_tools_are_replayed_whole(self, server: FaultServer) -> None:
        calls = [ToolCall("go", {"to": "Rome"}, id="c1"), ToolCall("go", {"to": "Bonn"}, id="c2")]
        server.default = Reply("Going.", tool_calls=calls)
        tool = {"name": "go", "description": "d", "parameters": {"type": "object"}}
        bound = router_on(server).bind_tools([tool])
        original = await ask(bound, "astream")
        for way in WAYS:
            replay = await ask(bound, way)
            assert without_receipt(replay) == without_receipt(original)
            assert [c["args"] for c in replay.tool_calls] == [{"to": "Rome"}, {"to": "Bonn"}]
        assert len(server.requests) == 1

    async def test_similar_questions_share_an_answer_in_the_same_context(
        self, server: FaultServer
    ) -> None:
        router = router_on(server, kind="semantic", threshold=0.8)
        kind = SystemMessage("Be kind.")
        await router.ainvoke([kind, HumanMessage("tell me the capital of France")])
        replay = await router.ainvoke([kind, HumanMessage("tell me the capital of France please")])
        assert told(replay)["kind"] == "semantic"
        assert 0.8 <= told(replay)["similarity"] < 1
        other = await router.ainvoke([HumanMessage("tell me the capital of France please")])
        assert told(other)["hit"] is False

    async def test_tenants_and_private_requests_are_apart(self, server: FaultServer) -> None:
        router = router_on(server)
        for tenant in ("a", "b", None):
            assert told(await router.ainvoke("x", tenant=tenant))["hit"] is False
        assert told(await router.ainvoke("x", tenant="b"))["hit"] is True
        with pytest.raises(NearfarError):  # its only candidate is far
            await router.ainvoke("x", tenant="b", private=True)
        assert all("tenant" not in seen.body for seen in server.requests)

    @pytest.mark.parametrize("way", WAYS)
    async def test_a_call_may_bypass_the_cache_or_fill_it_anew(
        self, server: FaultServer, way: Way
    ) -> None:
        router = router_on(server, kind="semantic")
        await ask(router, way)
        server.default = Reply("newer")
        passed = await ask(router.bind(cache="bypass"), way)
        assert (passed.text, told(passed)["stored"]) == ("newer", False)
        assert "bypasses" in told(passed)["reason"]
        assert (await ask(router, way)).content == TEXT
        assert told(await ask(router.bind(cache="refresh"), way))["stored"] is True
        assert (await ask(router, way)).content == "newer"
        assert all("cache" not in seen.body for seen in server.requests)
        with pytest.raises(NearfarError, match="use, refresh or bypass"):
            await ask(router.bind(cache="no"), way)

    async def test_another_model_is_asked_anew(self, server: FaultServer) -> None:
        await router_on(server, "a").ainvoke("x")
        assert told(await router_on(server, "b").ainvoke("x"))["hit"] is False
        assert told(await router_on(server, "a").ainvoke("x"))["hit"] is True


@given(st.text() | st.text(" \n\t\u00a0ab", max_size=40))
def test_the_pieces_of_a_replay_are_the_text(text: str) -> None:
    metadata = {"model_name": "m", "finish_reason": "stop"}
    message = AIMessage(text, response_metadata=metadata)
    hit = Hit([ChatGeneration(message=message)], "a", 1.0)
    chunks = list(replayed(hit, {}))
    assert merged(chunks).content == text
    assert all(chunk.content for chunk in chunks[:-1])


class TestWhatIsStored:
    @pytest.mark.parametrize("way", ["ainvoke", "astream"])
    async def test_a_truncated_answer_is_not(self, server: FaultServer, way: Way) -> None:
        server.default = Reply("half", finish_reason="length")
        router = router_on(server)
        for _ in range(2):
            reply = await ask(router, way)
            assert told(reply)["stored"] is False
            assert "length" in told(reply)["reason"]
        assert len(server.requests) == 2

    async def test_an_error_is_not(self, server: FaultServer) -> None:
        router = router_on(server)
        server.default = Status(400)
        with pytest.raises(NearfarError):
            await router.ainvoke("x")
        server.default = Reply("fine")
        assert (await router.ainvoke("x")).text == "fine"

    async def test_a_stream_that_is_left_is_not(self, server: FaultServer) -> None:
        router = router_on(server)
        stream = cast("Any", router.astream("x"))
        async for _ in stream:
            break
        await stream.aclose()
        assert [s.entries for s in stats()] == [0]

    async def test_sampled_answers_are_only_where_the_cache_says_so(
        self, server: FaultServer
    ) -> None:
        for _ in range(2):
            reply = await router_on(server).ainvoke("x", temperature=0.7)
            assert "temperature" in told(reply)["reason"]
        sampled = router_on(server, sampled=True)
        await sampled.ainvoke("x", temperature=0.7)
        assert told(await sampled.ainvoke("x", temperature=0.7))["hit"] is True
        assert told(await sampled.ainvoke("x", temperature=0.8))["hit"] is False


class TestTrouble:
    async def test_a_cache_that_cannot_be_used_never_fails_a_request(
        self, server: FaultServer, home_folder: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        (home_folder / "cache.db").mkdir()
        with caplog.at_level(logging.WARNING):
            reply = await router_on(server).ainvoke("x")
        assert reply.text == TEXT
        assert told(reply)["reason"].startswith("NF-4")
        assert "passed over" in caplog.text

    async def test_many_at_once_are_all_answered(self, server: FaultServer) -> None:
        router = router_on(server)
        replies = await asyncio.gather(*(router.ainvoke(f"{n % 5}") for n in range(40)))
        assert {reply.text for reply in replies} == {TEXT}
        [found] = stats()
        assert (found.entries, found.hits + found.misses) == (5, 40)


class TestSettings:
    def test_a_routers_cache_is_made_from_the_settings(self, server: FaultServer) -> None:
        lab = {"provider": "openai-compatible", "base_url": server.openai_url, "model": "m"}
        settings = Settings.model_validate(
            {
                "models": {"lab": {**lab, "api_key": "none"}},
                "routers": {"r": {"candidates": ["lab"], "cache": "kept"}},
                "caches": {"kept": {"ttl_s": 60}},
            }
        )
        for hit in (False, True):
            assert told(chat_model("r", settings=settings).invoke("x"))["hit"] is hit

    def test_a_router_must_name_a_cache_that_is_there(self) -> None:
        with pytest.raises(ValueError, match="no cache"):
            Settings.model_validate({"routers": {"r": {"candidates": ["builtin"], "cache": "c"}}})

    def test_semantic_uses_the_default_embeddings(self) -> None:
        settings = Settings(caches={"c": CacheSettings(kind="semantic")})
        assert ResponseCache.open("c", settings)._vectors


class TestWarming:
    async def test_prompts_are_asked_once(self, server: FaultServer, tmp_path: Path) -> None:
        file = tmp_path / "prompts.jsonl"
        file.write_text(
            '{"prompt": "a"}\n\n{"messages": [{"role": "system", "content": "s"}, '
            '{"role": "user", "content": "b"}]}\n{"prompt": "a", "tenant": "t"}\n'
        )
        router = router_on(server)
        report = await warm(router, file)
        assert (report.stored, report.present, report.failed) == (3, 0, [])
        assert (await warm(router, file)).present == 3
        assert len(server.requests) == 3
        assert told(await router.ainvoke("a"))["hit"] is True

    async def test_what_fails_is_told_by_its_line(
        self, server: FaultServer, tmp_path: Path
    ) -> None:
        file = tmp_path / "prompts.jsonl"
        file.write_text('{"prompt": "a"}\n')
        server.default = Status(400)
        report = await warm(router_on(server), file)
        assert [line for line, _ in report.failed] == [1]

    @pytest.mark.parametrize(
        "line",
        ["x", "1", "[]", "{}", '{"prompt": 1}', '{"prompt": "a", "messages": []}', '{"text": "a"}'],
    )
    async def test_a_line_that_is_no_prompt_is_named(
        self, server: FaultServer, tmp_path: Path, line: str
    ) -> None:
        file = tmp_path / "prompts.jsonl"
        file.write_text(f'{{"prompt": "a"}}\n{line}\n')
        with pytest.raises(UsageError, match="Line 2"):
            await warm(router_on(server), file)
        assert not server.requests


def test_a_cache_does_not_show_in_a_routers_repr(server: FaultServer) -> None:
    router: Router = router_on(server)
    assert isinstance(router.responses, ResponseCache)
    assert isinstance(router.responses._embeddings, Bag)
    assert "responses" not in repr(router)
