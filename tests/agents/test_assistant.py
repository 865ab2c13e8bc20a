"""The assistant: the same graph with any model, over threads, approvals, faults and memory."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.types import Command
from pydantic import BaseModel

import nearfar
from nearfar.agents import Memory, MemoryStore, create_assistant
from nearfar.agents.messages import gathered
from nearfar.cli.main import main
from nearfar.errors import UsageError
from nearfar.retrieval import Index
from nearfar.settings import Settings
from nearfar.testing import ScriptedChatModel
from nearfar.testing.fault_server import Fault, FaultServer, Reply, Status, ToolCall

from .calls import add, calls

CONFIG: Any = {"configurable": {"thread_id": "t"}}


@pytest.fixture
def library(tmp_path: Path) -> str:
    """An index of three documents."""
    folder = tmp_path / "docs"
    folder.mkdir()
    for name, text in {
        "kiln": "The kiln was built in 1962. It burns gas and holds forty bowls.",
        "glaze": "The blue glaze needs two days to dry before the second firing.",
        "lamps": "The green lamp is lit when the kiln has reached 900 degrees.",
    }.items():
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    Index.open("library", create=True).add([folder])
    return "library"


def ask(graph: Any, question: str, config: Any = CONFIG) -> Any:
    return graph.invoke({"question": question}, config)


def tool_names(call: Any) -> set[str]:
    return {one["function"]["name"] for one in call.options.get("tools", ())}


class TestTurns:
    def test_a_thread_remembers_and_each_answer_stands_by_itself(self) -> None:
        with ScriptedChatModel([add(), "It is 2.", "You asked for 1 + 1."]) as model:
            graph = create_assistant(model, ["calculator"], checkpointer=InMemorySaver())
            first = ask(graph, "What is 1 + 1?")
            assert first["answer"] == "It is 2."
            assert ask(graph, "What did I ask?")["answer"] == "You asked for 1 + 1."
        assert "What is 1 + 1?" in model.calls[-1].text

    def test_messages_or_a_question_and_nothing_is_an_error(self) -> None:
        with ScriptedChatModel(["Hi.", "Hi again."]) as model:
            graph = create_assistant(model, [])
            assert graph.invoke({"messages": [HumanMessage("hello")]})["answer"] == "Hi."
            assert asyncio.run(graph.ainvoke({"question": "hello"}))["answer"] == "Hi again."
        empty: tuple[Any, ...] = (
            {"question": " "},
            {"messages": []},
            {"messages": [AIMessage("me")]},
        )
        for nothing in empty:
            with pytest.raises(UsageError):
                graph.invoke(nothing)

    def test_tokens_and_calls_stream(self) -> None:
        with ScriptedChatModel([add(), "It is two."]) as model:
            graph = create_assistant(model, ["calculator"])
            stream = graph.stream({"question": "1 + 1?"}, stream_mode=["messages", "updates"])
            seen: list[Any] = list(stream)
        tokens = [data[0].text for mode, data in seen if mode == "messages"]
        assert [t for t in tokens if t and t != "2"][-3:] == ["It", " is", " two."]
        assert any(mode == "updates" and "tools" in data for mode, data in seen)

    def test_answers_are_objects_where_a_schema_is_given(self) -> None:
        class Sum(BaseModel):
            """A sum."""

            total: int

        with ScriptedChatModel([add(), calls(("Sum", {"total": 2}))]) as model:
            graph = create_assistant(model, ["calculator"], response_format=Sum)
            assert ask(graph, "1 + 1?")["structured_response"] == Sum(total=2)

    def test_the_built_in_model_gives_objects_by_its_grammar(self) -> None:
        class Mood(BaseModel):
            """A mood."""

            good: bool

        graph = create_assistant(tools=[], response_format=Mood)
        assert isinstance(ask(graph, "What a lovely day!")["structured_response"], Mood)

    def test_a_question_while_a_call_waits_leaves_no_call_unanswered(self) -> None:
        @tool
        def send() -> str:
            """Send it."""
            return "sent"

        with ScriptedChatModel([calls(("send", {})), "Another thing, then."]) as model:
            graph = create_assistant(model, [send], checkpointer=InMemorySaver())
            assert ask(graph, "Send it")["__interrupt__"]
            assert ask(graph, "Never mind")["answer"] == "Another thing, then."
        types = [m.type for m in model.calls[-1].messages]
        assert types == ["system", "human", "ai", "tool", "human"]

    def test_a_long_thread_does_not_grow_with_its_square(self, tmp_path: Path) -> None:
        sizes = []
        for turns in (20, 40):
            path = tmp_path / f"{turns}.db"
            with SqliteSaver.from_conn_string(str(path)) as saver:
                model = ScriptedChatModel(["answer " * 50] * turns)
                graph = create_assistant(model, [], memory=False, checkpointer=saver)
                for n in range(turns):
                    ask(graph, f"question {n}")
                kept = graph.get_state(CONFIG).values["messages"]
                rows = saver.conn.execute(
                    "SELECT sum(length(checkpoint)) FROM checkpoints UNION ALL"
                    " SELECT sum(length(value)) FROM writes"
                ).fetchall()
                sizes.append(sum(row[0] for row in rows))
            assert len(kept) == 2 * turns
        assert sizes[1] < 2.6 * sizes[0]


def test_replayed_writes_give_the_same_messages_and_ids() -> None:
    writes = [[("user", "a")], ("user", "b"), [AIMessage("c")], {"role": "user", "content": "d"}]
    whole = gathered([], writes)
    parts = gathered(gathered(gathered([], writes[:1]), writes[1:3]), writes[3:])
    assert [m.content for m in whole] == ["a", "b", "c", "d"]
    assert whole == parts
    assert len({m.id for m in whole}) == 4


class TestCitations:
    def test_numbers_run_on_and_false_ones_go(self, library: str) -> None:
        search = [
            calls(("documents", {"question": "kiln built", "k": 1})),
            calls(("documents", {"question": "blue glaze dry", "k": 1})),
        ]
        answer = "It was built in 1962 [1]. The glaze dries two days [2, 7]. Nobody knows [9]."
        with ScriptedChatModel([*search, answer]) as model:
            out = ask(create_assistant(model, index=library), "Kiln and glaze?")
        assert (
            out["answer"] == "It was built in 1962 [1]. The glaze dries two days [2]. Nobody knows."
        )
        assert [Path(c["source"]).stem for c in out["citations"]] == ["kiln", "glaze"]
        assert "[2] " in model.calls[-1].messages[-1].text  # the model saw it under this number

    def test_an_answer_without_numbers_gets_one_or_is_asked_for(self, library: str) -> None:
        search = calls(("documents", {"question": "kiln"}))
        own_words = [
            "The furnace dates from the sixties.",
            "The furnace dates from the sixties [1].",
        ]
        for script, expected in (
            (["The kiln was built in 1962."], "The kiln was built in 1962. [1]"),
            (own_words, own_words[1]),
            (["The documents do not say."], "The documents do not say."),
        ):
            with ScriptedChatModel([search, *script]) as model:
                out = ask(create_assistant(model, index=library, tools=["documents"]), "When?")
            assert out["answer"] == expected
            assert bool(out["citations"]) == ("[1]" in expected)

    def test_brackets_that_are_no_citations_stay(self) -> None:
        with ScriptedChatModel(["x = rows[1]"]) as model:
            graph = create_assistant(model, ["documents", "calculator"])
            assert ask(graph, "code?")["answer"] == "x = rows[1]"


class TestMemory:
    def test_what_is_remembered_is_shown_in_other_threads_of_the_same_user_only(self) -> None:
        store = MemoryStore()
        Memory(store, tenant="acme", user="ada").remember("The user does not eat meat.")
        Memory(store, tenant="acme", user="ada.b").remember("The user eats only meat.")
        for tenant, user, shown in (
            ("acme", "ada", True),
            ("acme", "bob", False),
            ("other", "ada", False),
            (None, None, False),
        ):
            with ScriptedChatModel(["Try the soup."]) as model:
                graph = create_assistant(model, [], memory=store)
                config = {"configurable": {"tenant": tenant, "user_id": user}}
                out = ask(graph, "What food can I eat?", config)
            assert ("does not eat meat" in model.calls[0].text) == shown
            assert "only meat" not in model.calls[0].text
            assert out["messages"][0].content == "What food can I eat?"  # the thread has none of it

    def test_a_model_remembers_when_a_person_agrees_and_forgets(self) -> None:
        store = MemoryStore()
        fact = {"text": "The user's name is Ada."}
        script: list[Any] = [calls(("remember", fact)), "Noted.", calls(("forget", fact)), "Gone."]
        with ScriptedChatModel(script) as model:
            graph = create_assistant(model, [], memory=store, checkpointer=InMemorySaver())
            yes: Any = Command(resume={"decisions": [{"type": "approve"}]})
            assert ask(graph, "I am Ada")["__interrupt__"]
            assert Memory(store).all() == []
            assert graph.invoke(yes, CONFIG)["answer"] == "Noted."
            assert [one.text for one in Memory(store).all()] == [fact["text"]]
            ask(graph, "Forget my name")
            assert graph.invoke(yes, CONFIG)["answer"] == "Gone."
        assert Memory(store).all() == []

    def test_what_is_new_is_shown_when_the_same_is_asked_again(self) -> None:
        store = MemoryStore()
        with ScriptedChatModel(["Soup.", "Salad."]) as model:
            graph = create_assistant(model, [], memory=store)
            ask(graph, "What can I eat?")
            Memory(store).remember("The user can eat no meat.")
            ask(graph, "What can I eat?")
        assert ["no meat" in call.text for call in model.calls] == [False, True]

    def test_people_with_strange_names_do_not_meet(self) -> None:
        names = [None, "", "a.b", "a%2Eb", "a/b", "=", "user:"]
        spaces = {Memory(MemoryStore(), user=name).namespace for name in names}
        assert len(spaces) == len(names)
        assert all("." not in label for space in spaces for label in space)


class TestBuiltIn:
    """Questions as the guide has them."""

    @pytest.fixture(scope="class")
    @staticmethod
    def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
        folder = tmp_path_factory.mktemp("files")
        (folder / "notes.txt").write_text("The shop opens at nine.\n", encoding="utf-8")
        return folder

    @pytest.mark.parametrize(
        ("question", "tool", "said"),
        [
            ("What is 12 * 7?", "calculator", "84"),
            ("What is 17 * 23?", "calculator", "391"),
            ("what is 12*7-(3+1)?", "calculator", "80"),
            ("Calculate 12.5% of 80", "calculator", "10"),
            ("When was the kiln built?", "documents", "1962"),
            ("Search the documents for when the kiln was built.", "documents", "1962"),
            ("Read the file notes.txt", "files_read", ""),
        ],
    )
    def test_it_calls_the_right_tool(
        self, question: str, tool: str, said: str, library: str, files: Path
    ) -> None:
        settings = Settings.model_validate(
            {"tools": {"files": {"roots": [str(files)]}}}, context={"base": files}
        )
        out = ask(create_assistant(settings=settings, index=library), question)
        called = [c["name"] for m in out["messages"] for c in getattr(m, "tool_calls", ())]
        assert called[0] == tool
        assert said in out["answer"]
        if tool == "documents":
            assert [Path(c["source"]).name for c in out["citations"]] == ["kiln.txt"]


CLOUD = """
models:
  far: {{provider: openai-compatible, base_url: "{url}", model: far, api_key: none, price: {{input: 1, output: 2}}}}
  spare: {{provider: openai-compatible, base_url: "{url}", model: spare, api_key: none, price: {{input: 1, output: 2}}}}
routers:
  default: {{candidates: [far, spare], retries: 0}}
tools: {{files: {{roots: ["{root}"]}}}}
"""


class TestRouter:
    @pytest.fixture
    def server(self) -> Iterator[FaultServer]:
        with FaultServer() as server:
            yield server

    @pytest.fixture
    def config(self, server: FaultServer, tmp_path: Path) -> Path:
        path = tmp_path / "nearfar.yaml"
        root = tmp_path / "files"
        root.mkdir()
        path.write_text(CLOUD.format(url=server.openai_url, root=root.as_posix()), encoding="utf-8")
        return path

    @pytest.mark.parametrize("stream", [False, True])
    def test_it_fails_over_in_the_middle_of_a_conversation(
        self, server: FaultServer, config: Path, *, stream: bool
    ) -> None:
        call = ToolCall("calculator", {"expression": "12 * 7"})
        server.add(Reply("", tool_calls=[call]), Status(503), model="far")
        server.add(Reply("It is 84."), model="spare")
        server.add(Fault("reset", at="first_token"), model="far")
        server.add(Reply("You are welcome."), model="spare")
        settings = nearfar.load_settings(config)
        graph = create_assistant(settings=settings, checkpointer=InMemorySaver())

        def run(question: str) -> Any:
            if not stream:
                return ask(graph, question)
            for _ in graph.stream({"question": question}, CONFIG, stream_mode="messages"):
                continue
            return graph.get_state(CONFIG).values

        out = run("What is 12 * 7?")
        assert out["answer"] == "It is 84."
        receipt = out["messages"][-1].response_metadata["nearfar"]
        assert receipt["answered_by"] == "spare"
        assert run("Thank you")["answer"] == "You are welcome."

    def test_on_the_command_line_an_approval_is_exit_code_3_and_can_be_given(
        self,
        server: FaultServer,
        config: Path,
        monkeypatch: pytest.MonkeyPatch,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        call = ToolCall("files_write", {"path": "a.txt", "content": "hello"})
        server.add(Reply("", tool_calls=[call]), Reply("Written."), model="far")
        monkeypatch.chdir(config.parent)
        Path("in.json").write_text('{"question": "Write it"}', encoding="utf-8")

        def run(*args: str) -> tuple[int, Any]:
            code = main(["run", "assistant", "--thread", "w", "--json", *args])
            return code, json.loads(capfd.readouterr().out)

        code, done = run("--input", "in.json")
        assert (code, done["status"]) == (3, "waiting")
        (asked,) = done["output"]["__interrupt__"]
        assert asked["value"]["action_requests"][0]["name"] == "files_write"
        code, done = run("--resume", '{"decisions": [{"type": "approve"}]}')
        assert (code, done["output"]["answer"]) == (0, "Written.")
        assert done["cost_usd"] > 0
        assert (config.parent / "files" / "a.txt").read_text(encoding="utf-8") == "hello"
