"""`nearfar cache`: what people and programs see of the caches."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from nearfar.llm import chat_model
from nearfar.llm.cache import Asked, ResponseCache
from nearfar.testing.fault_server import FaultServer, Reply
from tests.conftest import Cli
from tests.llm.cache.kit import file_of, lookup, store

CONFIG = """\
models:
  lab: {{provider: openai-compatible, base_url: "{url}", model: m, api_key: none}}
routers:
  default: {{candidates: [lab], cache: answers}}
  bare: {{candidates: [lab]}}
caches:
  answers: {{kind: exact}}
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FaultServer]:
    with FaultServer(default=Reply("ok")) as running:
        (tmp_path / "nearfar.yaml").write_text(CONFIG.format(url=running.openai_url))
        yield running


@pytest.fixture
def used(server: FaultServer) -> ResponseCache:
    cache = ResponseCache("answers")
    for number, model in enumerate(("m1", "m2", "m2")):
        store(cache, Asked([], [], options={"seed": number}), "x", model=model)
    assert lookup(cache, Asked([], [], options={"seed": 0}))
    store(cache, Asked([], [], tenant="t"), "x")
    file_of(cache).close()
    return cache


def test_stats_show_each_cache(cli: Cli, used: ResponseCache) -> None:
    [row] = cli("cache", "stats", "--json").json["caches"]
    assert row.pop("bytes") > 0
    assert row == {
        "name": "answers",
        "kind": "exact",
        "entries": 4,
        "hits": 1,
        "misses": 4,
        "stored": 4,
        "evicted": 0,
        "hit_rate": 0.2,
    }
    head, line = cli("cache", "stats").out.splitlines()
    assert head.split()[:3] == ["CACHE", "KIND", "ENTRIES"]
    assert line.split()[-1] == "20.0%"


def test_a_cache_that_was_never_used_is_there_and_makes_no_file(
    cli: Cli, server: FaultServer, home_folder: Path
) -> None:
    assert cli("cache", "stats", "--json").json["caches"][0]["entries"] == 0
    assert cli("cache", "clear", "--json").json == {"removed": 0}
    assert not (home_folder / "cache.db").exists()


def test_clear_takes_a_model_a_tenant_a_cache_or_all(cli: Cli, used: ResponseCache) -> None:
    assert cli("cache", "clear", "--model", "m2", "--json").json == {"removed": 2}
    assert cli("cache", "clear", "answers", "--tenant", "t", "--json").json == {"removed": 1}
    assert cli("cache", "clear").out == "1 answers deleted.\n"


def test_a_cache_that_is_not_there_is_named(cli: Cli, used: ResponseCache) -> None:
    done = cli("cache", "clear", "answer", "--json")
    assert done.rc == 2
    assert done.json["error"]["data"] == {"name": "answer", "known": ["answers"]}


def test_warm_stores_answers_for_routers(cli: Cli, server: FaultServer, tmp_path: Path) -> None:
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "a"}\n{"prompt": "b"}\n')
    done = cli("cache", "warm", "prompts.jsonl", "--json")
    assert done.json == {"stored": 2, "present": 0, "not_stored": 0, "failed": []}
    reply = chat_model(settings=tmp_path / "nearfar.yaml").invoke("a")
    assert reply.response_metadata["nearfar"]["cache"]["hit"] is True
    assert len(server.requests) == 2


def test_warm_needs_a_router_with_a_cache(cli: Cli, server: FaultServer) -> None:
    done = cli("cache", "warm", "prompts.jsonl", "--router", "bare")
    assert done.rc == 2
    assert "has no cache" in done.err
