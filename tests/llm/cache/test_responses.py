"""Time, space, tenants, damage, and many writers."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, Generation

from nearfar.errors import DatabaseError, SchemaVersionError, StorageError
from nearfar.llm.cache import Asked, ResponseCache, Uncacheable, clear, stats
from nearfar.llm.cache.codec import decode, encode
from nearfar.llm.cache.file import CacheFile
from nearfar.settings import CacheSettings
from tests.llm.cache.kit import Bag, Clock, answer, file_of, lookup, store

MODELS = [{"model": "m", "provider": "x"}]


def asked(text: str = "What is it?", **more: object) -> Asked:
    return Asked(models=MODELS, messages=[HumanMessage(text)], **more)  # type: ignore[arg-type]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def exact(tmp_path: Path, clock: Clock) -> ResponseCache:
    options = CacheSettings(ttl_s=100, max_mb=0.01)
    return ResponseCache("kept", options, path=tmp_path / "c.db", clock=clock)


@pytest.fixture
def semantic(tmp_path: Path, clock: Clock) -> ResponseCache:
    options = CacheSettings(kind="semantic", threshold=0.8)
    path = tmp_path / "c.db"
    return ResponseCache("near", options, embeddings=Bag(), path=path, clock=clock)


class TestTime:
    def test_an_answer_is_good_until_its_time_is_up(
        self, exact: ResponseCache, clock: Clock
    ) -> None:
        store(exact, asked(), "it")
        clock.now += 99
        hit = exact.find(exact.key(asked())).hit
        assert hit is not None
        assert hit.age_s == 99
        clock.now += 2
        assert lookup(exact, asked()) is None

    def test_what_is_too_old_leaves_when_something_new_comes(
        self, exact: ResponseCache, clock: Clock
    ) -> None:
        store(exact, asked(), "it")
        clock.now += 101
        store(exact, asked("Another?"), "one")
        assert (exact.stats().entries, exact.stats().evicted) == (1, 1)


class TestSpace:
    def test_the_least_recently_used_answers_go_first(
        self, exact: ResponseCache, clock: Clock
    ) -> None:
        for number in range(3):
            clock.now += 1
            store(exact, asked(f"Question {number}"), "x" * 2000)
        clock.now += 1
        assert lookup(exact, asked("Question 0"))
        store(exact, asked("Question 4"), "x" * 2000)
        assert lookup(exact, asked("Question 0"))
        assert lookup(exact, asked("Question 1")) is None
        assert exact.stats().bytes <= 0.01 * 2**20

    def test_an_answer_larger_than_the_cache_is_not_stored(self, exact: ResponseCache) -> None:
        found = exact.find(exact.key(asked()))
        assert not exact.keep(found, answer("x" * 20_000), model="m")
        assert exact.stats().entries == 0

    def test_storing_again_replaces(self, exact: ResponseCache) -> None:
        found = exact.find(exact.key(asked()))
        for text in ("first", "second"):
            assert exact.keep(found, answer(text), model="m")
        assert lookup(exact, asked()) == "second"
        assert exact.stats().entries == 1


class TestKeys:
    @pytest.mark.parametrize(
        "other",
        [
            asked("What is that?"),
            asked(tenant="b"),
            asked(private=True),
            asked(tags=frozenset({"t"})),
            asked(options={"max_tokens": 5}),
            asked(options={"tool_choice": "any"}),
            asked(tools=[{"name": "t"}]),
            Asked(models=[{"model": "n"}], messages=[HumanMessage("What is it?")]),
            Asked(models=MODELS, messages=[SystemMessage("s"), HumanMessage("What is it?")]),
            Asked(models=MODELS, messages=[SystemMessage("What is it?")]),
        ],
    )
    def test_whatever_can_change_the_answer_changes_the_key(
        self, exact: ResponseCache, other: Asked
    ) -> None:
        assert exact.key(asked()).exact != exact.key(other).exact

    def test_ids_and_the_order_of_options_do_not(self, exact: ResponseCache) -> None:
        one = Asked(MODELS, [HumanMessage("a", id="1")], options={"stop": ["x"], "seed": 1})
        two = Asked(MODELS, [HumanMessage("a", id="2")], options={"seed": 1, "stop": ["x"]})
        assert exact.key(one) == exact.key(two)

    def test_keys_are_the_same_in_every_process_and_version(self, exact: ResponseCache) -> None:
        """What one program has stored, another one has to find."""
        options = {"b": 1, "a": "x"}
        key = exact.key(Asked([{"model": "m"}], [], options=options, tags=frozenset("ab")))
        assert key.exact.hex().startswith("ab6a8274cc6fa7ee")

    def test_sampled_requests_are_kept_only_when_asked_for(self, tmp_path: Path) -> None:
        hot = asked(options={"temperature": 0.7})
        path = tmp_path / "c.db"
        with pytest.raises(Uncacheable, match="temperature"):
            ResponseCache(path=path).key(hot)
        with pytest.raises(Uncacheable):
            ResponseCache(path=path).key(Asked([{"temperature": 1.0}], hot.messages))
        assert ResponseCache(path=path).key(asked(options={"temperature": 0}))
        assert ResponseCache(options=CacheSettings(sampled=True), path=path).key(hot)

    def test_a_tenant_that_is_no_text_is_not_kept(self, exact: ResponseCache) -> None:
        with pytest.raises(Uncacheable, match="tenant"):
            exact.key(asked(tenant=7))

    def test_what_is_not_json_is_not_kept(self, exact: ResponseCache) -> None:
        with pytest.raises(Uncacheable, match="JSON"):
            exact.key(asked(options={"callback": print}))

    def test_the_file_holds_no_prompt_and_no_tenant(
        self, semantic: ResponseCache, tmp_path: Path
    ) -> None:
        store(semantic, asked("My secret question", tenant="Mallory"), "fine")
        file_of(semantic).close()
        content = b"".join(f.read_bytes() for f in tmp_path.iterdir())
        assert b"fine" in content
        assert b"secret" not in content
        assert b"Mallory" not in content


class TestSemantic:
    def test_similar_words_have_the_same_answer(self, semantic: ResponseCache) -> None:
        store(semantic, asked("please tell me the capital of France"), "Paris")
        hit = semantic.find(semantic.key(asked("tell me the capital of France"))).hit
        assert hit is not None
        assert hit.kind == "semantic"
        assert hit.similarity == pytest.approx(0.943, abs=0.001)
        assert hit.generations[0].text == "Paris"

    def test_below_the_threshold_nothing_is_found(self, semantic: ResponseCache) -> None:
        store(semantic, asked("tell me the capital of France"), "Paris")
        assert lookup(semantic, asked("who was king of France")) is None

    @pytest.mark.parametrize(
        ("question", "other"),
        [
            ("is it safe to take this with milk", "is it not safe to take this with milk"),
            ("is it wise to open the big old door", "isn't it wise to open the big old door"),
            ("how do I turn dollars to euros here", "how do I turn euros to dollars here"),
            ("what do I do before the big test run", "what do I do after the big test run"),
            ("how do I raise the limit of the pool", "how do I lower the limit of the pool"),
            ("tell me the result for line 17 now", "tell me the result for line 18 now"),
        ],
    )
    def test_a_negation_an_opposite_a_number_or_another_order_is_another_question(
        self, semantic: ResponseCache, question: str, other: str
    ) -> None:
        store(semantic, asked(question), "yes")
        assert lookup(semantic, asked(other)) is None
        assert lookup(semantic, asked(f"{question} please")) == "yes"

    @pytest.mark.parametrize(
        "more",
        [
            {"tenant": "b"},
            {"private": True},
            {"options": {"max_tokens": 9}},
            {"tools": [{"name": "t"}]},
        ],
    )
    def test_another_context_is_another_question(
        self, semantic: ResponseCache, more: dict[str, object]
    ) -> None:
        store(semantic, asked("tell me the capital of France"), "Paris")
        assert lookup(semantic, asked("tell me the capital of France please")) == "Paris"
        assert lookup(semantic, asked("tell me the capital of France please", **more)) is None

    def test_earlier_turns_and_the_system_prompt_are_context(self, semantic: ResponseCache) -> None:
        turns = [SystemMessage("Be kind."), HumanMessage("Hi"), AIMessage("Hi")]
        question = HumanMessage("tell me all about the city")
        similar = HumanMessage("tell me all about the city please")
        store(semantic, Asked(MODELS, [*turns, question]), "Paris")
        assert lookup(semantic, Asked(MODELS, [*turns, similar])) == "Paris"
        for other in (turns[:1], turns[1:], [*turns[:2], AIMessage("Go")], []):
            assert lookup(semantic, Asked(MODELS, [*other, similar])) is None

    def test_a_request_that_ends_with_a_tools_result_needs_to_be_the_same(
        self, semantic: ResponseCache
    ) -> None:
        for text in ("sunny and warm all day", "sunny and warm all day long"):
            request = Asked(MODELS, [HumanMessage("w?"), ToolMessage(text, tool_call_id="1")])
            store(semantic, request, "ok")
            assert lookup(semantic, request) == "ok"

    def test_a_long_turn_needs_to_be_the_same(self, semantic: ResponseCache) -> None:
        text = "please tell me about the city " * 9
        store(semantic, asked(text), "Paris")
        assert lookup(semantic, asked(text)) == "Paris"
        assert lookup(semantic, asked(text + "please")) is None

    def test_calls_of_tools_are_for_the_same_request_only(self, semantic: ResponseCache) -> None:
        call = {"name": "go", "args": {"to": "Rome"}, "id": "1"}
        message = AIMessage("", tool_calls=[call])
        found = semantic.find(semantic.key(asked("go to the city of Rome now")))
        assert semantic.keep(found, [ChatGeneration(message=message)], model="m")
        assert semantic.find(semantic.key(asked("go to the city of Rome now"))).hit
        assert semantic.find(semantic.key(asked("go to the city of Bonn now"))).hit is None

    def test_vectors_of_another_model_are_not_compared(
        self, semantic: ResponseCache, tmp_path: Path, clock: Clock
    ) -> None:
        class Other(Bag):
            fingerprint = "other"

        store(semantic, asked("tell me the capital of France"), "Paris")
        other = ResponseCache(
            "near", semantic.options, embeddings=Other(), path=tmp_path / "c.db", clock=clock
        )
        assert lookup(other, asked("tell me the capital of France please")) is None
        assert lookup(other, asked("tell me the capital of France")) == "Paris"

    def test_langchain_finds_similar_last_turns_of_chats(self, semantic: ResponseCache) -> None:
        from langchain_core.load import dumps

        def prompt(text: str, system: str = "s") -> str:
            return dumps([SystemMessage(system), HumanMessage(text)])

        semantic.update(prompt("tell me the capital of France"), "llm", answer("Paris"))
        assert semantic.lookup(prompt("tell me the capital of France please"), "llm")
        assert semantic.lookup(prompt("tell me the capital of France please", "t"), "llm") is None
        assert semantic.lookup(prompt("tell me the capital of France please"), "other") is None

    def test_the_built_in_embeddings_do(self, tmp_path: Path) -> None:
        options = CacheSettings(kind="semantic")
        cache = ResponseCache(options=options, path=tmp_path / "c.db")
        store(cache, asked("How do I reset my password?"), "Like this.")
        assert lookup(cache, asked("How can I reset my password?")) == "Like this."
        assert lookup(cache, asked("How do I reset my router?")) is None


class TestInvalidation:
    def test_by_model_by_tenant_and_all(self, exact: ResponseCache, tmp_path: Path) -> None:
        store(exact, asked("1"), "x", model="m1")
        store(exact, asked("2"), "x", model="m2")
        store(exact, asked("3", tenant="a"), "x", model="m2")
        assert exact.remove(model="m1") == 1
        assert exact.remove(tenant="a") == 1
        assert lookup(exact, asked("2")) == "x"
        exact.clear()
        assert exact.stats().entries == exact.stats().bytes == 0
        with pytest.raises(TypeError):
            exact.clear(modle="m1")

    def test_other_caches_of_the_file_stay(
        self, exact: ResponseCache, semantic: ResponseCache, tmp_path: Path
    ) -> None:
        store(exact, asked(), "x")
        store(semantic, asked(), "x")
        exact.clear()
        assert [(s.name, s.entries) for s in stats(path=tmp_path / "c.db")] == [
            ("kept", 0),
            ("near", 1),
        ]
        assert clear(path=tmp_path / "c.db") == 1

    def test_what_was_cleared_is_gone_from_the_file(
        self, exact: ResponseCache, tmp_path: Path
    ) -> None:
        store(exact, asked(), "a very particular answer")
        exact.clear()
        content = b"".join(f.read_bytes() for f in tmp_path.iterdir())
        assert b"very particular" not in content

    def test_hits_and_misses_are_counted(self, exact: ResponseCache) -> None:
        store(exact, asked(), "x")
        for _ in range(3):
            lookup(exact, asked())
        found = exact.stats()
        assert (found.hits, found.misses, found.stored) == (3, 1, 1)
        assert found.hit_rate == 0.75


class TestAnswers:
    def test_truncated_answers_are_not_stored_for_langchain_either(
        self, exact: ResponseCache
    ) -> None:
        exact.update("p", "llm", answer("half", finish_reason="length"))
        exact.update(
            "q", "llm", [Generation(text="half", generation_info={"finish_reason": "length"})]
        )
        assert exact.lookup("p", "llm") is None
        assert exact.lookup("q", "llm") is None

    def test_no_other_class_comes_out_of_the_file(self) -> None:
        evil = (
            '[{"lc": 1, "type": "constructor", "id": ["langchain", "chat_models", "openai",'
            ' "ChatOpenAI"], "kwargs": {"base_url": "http://evil"}}]'
        )
        for text in (evil, "[1]", "{}", "[", '[{"lc": 1, "type": "secret", "id": ["PATH"]}]'):
            assert decode(text) is None

    def test_what_does_not_survive_json_is_not_stored(self) -> None:
        message = AIMessage("x", additional_kwargs={"object": object()})
        assert encode([ChatGeneration(message=message)]) is None

    def test_an_entry_that_cannot_be_read_is_a_miss(
        self, exact: ResponseCache, tmp_path: Path
    ) -> None:
        store(exact, asked(), "x")
        file_of(exact).write(lambda c: c.execute("UPDATE cache_entries SET value = '{'"))
        assert lookup(exact, asked()) is None


class TestDamage:
    @pytest.mark.parametrize("garbage", [b"not a database at all" * 500, b"SQLite format 3\0" * 99])
    def test_a_file_that_is_no_database_is_replaced(
        self, exact: ResponseCache, tmp_path: Path, garbage: bytes
    ) -> None:
        (tmp_path / "c.db").write_bytes(garbage)
        store(exact, asked(), "x")
        assert lookup(exact, asked()) == "x"

    def test_a_file_damaged_while_it_is_open_is_replaced(
        self, exact: ResponseCache, tmp_path: Path
    ) -> None:
        for number in range(3):
            store(exact, asked(str(number)), "x" * 3000)
        file_of(exact).close()
        path = tmp_path / "c.db"
        content = bytearray(path.read_bytes())
        content[4096:] = b"\xff" * (len(content) - 4096)
        path.write_bytes(content)
        lookup(exact, asked("1"))
        store(exact, asked("anew"), "x")
        assert lookup(exact, asked("anew")) == "x"

    def test_a_file_of_a_newer_version_is_left_alone(
        self, exact: ResponseCache, tmp_path: Path
    ) -> None:
        store(exact, asked(), "x")
        file_of(exact).write(lambda c: c.execute("UPDATE schema_parts SET version = 99"))
        file_of(exact).close()
        with pytest.raises(SchemaVersionError):
            lookup(exact, asked())

    def test_a_folder_in_its_place_is_a_typed_error(
        self, exact: ResponseCache, tmp_path: Path
    ) -> None:
        (tmp_path / "c.db").mkdir()
        with pytest.raises(StorageError):
            lookup(exact, asked())

    def test_an_answer_is_given_even_where_it_cannot_be_counted(
        self, exact: ResponseCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("nearfar.llm.cache.file.BUSY_MS", 10)
        other = sqlite3.connect(tmp_path / "c.db", isolation_level=None)
        store(exact, asked(), "x")
        other.execute("BEGIN IMMEDIATE")
        assert lookup(exact, asked()) == "x"
        other.close()

    def test_a_writer_that_never_ends_is_a_typed_error(
        self, exact: ResponseCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("nearfar.llm.cache.file.BUSY_MS", 10)
        other = sqlite3.connect(tmp_path / "c.db", isolation_level=None)
        store(exact, asked(), "x")
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseError, match="busy"):
            exact.remove()
        other.close()


WRITER = """
import sys
from pathlib import Path
from langchain_core.outputs import Generation
from nearfar.llm.cache import ResponseCache

cache = ResponseCache(path=Path(sys.argv[1]))
for number in range(60):
    prompt = f"{number % 40}"
    found = cache.lookup(prompt, "llm")
    assert found is None or found[0].text == prompt * 50, found
    cache.update(prompt, "llm", [Generation(text=prompt * 50)])
"""


def test_processes_share_a_file(tmp_path: Path) -> None:
    path = tmp_path / "c.db"
    command = [sys.executable, "-c", WRITER, str(path)]
    writers = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(2)]
    for writer in writers:
        _, told = writer.communicate(timeout=60)
        assert writer.returncode == 0, told.decode()
    [found] = stats(path=path)
    assert (found.entries, found.stored) == (40, 120)
    assert found.hits + found.misses == 120
    total = CacheFile.at(path).read(
        lambda c: c.execute("SELECT sum(bytes) FROM cache_entries").fetchone()[0]
    )
    assert total == found.bytes


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # Python warns where threads are
def test_a_forked_child_opens_the_file_anew(exact: ResponseCache) -> None:
    store(exact, asked(), "x")
    child = os.fork()
    if child == 0:
        os._exit(0 if lookup(exact, asked()) == "x" else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert lookup(exact, asked()) == "x"
