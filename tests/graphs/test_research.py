"""The research workflow: planned, looked up at once, written from evidence only, reviewed in bounds."""

import asyncio
import http.server
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import BaseMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from nearfar.errors import UsageError
from nearfar.graphs.questions import listed_questions, split_question
from nearfar.graphs.registry import workflow
from nearfar.graphs.research import NOTHING_FOUND, build_research
from nearfar.settings import Settings
from nearfar.testing import ScriptedChatModel
from nearfar.testing.fault_server import FaultServer, Reply, SeenRequest, Status

SETTINGS = Settings()
KILN = "The kiln was built in 1962."
LAMP = "The green lamp is lit when the kiln has reached 900 degrees."
QUESTION = "When was the kiln built and when is the green lamp lit?"


@pytest.fixture
def docs(tmp_path: Path) -> str:
    file = tmp_path / "notes.md"
    file.write_text(f"# Kiln\n\n{KILN} It burns gas.\n\n# Lamps\n\n{LAMP}\n", encoding="utf-8")
    return str(file)


def cite(messages: list[BaseMessage]) -> str:
    """As a careful model answers the questions of ``ask``."""
    said = str(messages[-1].text)
    asked = said.rpartition("Question: ")[2]
    wanted = LAMP if "lamp" in asked else KILN
    line = next(line for line in said.splitlines() if wanted in line)
    return f"{wanted} {line.split()[0]}"


PLAN = "1. When was the kiln built?\n2. When is the green lamp lit?"
GOOD = "The kiln was built in 1962 [1]. The green lamp is lit at 900 degrees [2]."


@pytest.mark.parametrize(
    ("question", "parts"),
    [
        ("When was it built and how many bowls does it hold?", 2),
        ("What is A? What is B?", 2),
        ("What do salt and pepper cost?", 1),
        ("Tell me about kilns", 1),
        ("When, and where, was it and who did it and why was it done; what came of it?", 4),
    ],
)
def test_a_question_is_split_where_it_asks_again(question: str, parts: int) -> None:
    assert len(split_question(question, 12)) == parts


def test_a_plan_that_is_no_list_falls_back_to_the_questions_own_parts() -> None:
    assert listed_questions("", QUESTION, 4) == split_question(QUESTION, 4)
    assert listed_questions(PLAN, QUESTION, 4) == [line[3:] for line in PLAN.splitlines()]


def test_with_the_built_in_model_it_finishes_with_cited_text(docs: str) -> None:
    result = workflow("research", settings=SETTINGS).invoke({"question": QUESTION, "docs": [docs]})
    assert result["answered"] is True
    assert f"{KILN} [1]" in result["report"]
    assert f"{LAMP} [2]" in result["report"]
    text = Path(docs).read_text(encoding="utf-8")
    assert [c["n"] for c in result["citations"]] == [1, 2]
    assert all(c["quote"] in text and c["source"] == docs for c in result["citations"])
    assert result["review"]["approved"] is True
    assert result["performance"]["roles"]["researcher"]["tasks"] == 2


def test_what_the_documents_do_not_say_is_not_answered(docs: str) -> None:
    result = workflow("research", settings=SETTINGS).invoke(
        {"question": "Who is the chancellor of Austria?", "docs": [docs]}
    )
    assert (result["answered"], result["citations"]) == (False, [])
    assert NOTHING_FOUND in result["report"]
    took = result["performance"]["tasks"]
    assert {task: entry["success"] for task, entry in took.items()} == {
        "plan": True, "look up 1": False, "write": False,
    }  # fmt: skip


def test_a_larger_model_plans_writes_and_reviews(docs: str) -> None:
    with ScriptedChatModel([PLAN, cite, cite, GOOD, "APPROVED"]) as model:
        result = build_research(model, settings=SETTINGS).invoke(
            {"question": QUESTION, "docs": [docs], "show_prompts": True}
        )
    assert result["report"] == GOOD
    assert [c["quote"] for c in result["citations"]] == [KILN, LAMP]
    roles = [entry["role"] for entry in result["prompts"]]
    assert roles == ["planner", "researcher", "researcher", "writer", "reviewer"]
    assert result["performance"]["tasks"]["write"]["model_calls"] == 1


def test_what_the_evidence_does_not_bear_out_goes_back_once_and_then_comes_out(docs: str) -> None:
    """The loop is bounded, and a writer who insists does not win."""
    liar = "It was built in 1962 [1]. It exploded in 1999 [7]."
    with ScriptedChatModel([PLAN, cite, cite, liar, liar]) as model:
        result = build_research(model, settings=SETTINGS).invoke(
            {"question": QUESTION, "docs": [docs], "revisions": 1}
        )
    assert "take them out" in model.calls[-1].text
    assert "[7]" not in result["report"]
    assert result["review"]["approved"] is False
    assert result["review"]["revisions"] == 1
    written = result["performance"]["tasks"]["write"]
    assert (written["success"], written["attempts"]) == (False, 2)
    assert [c["n"] for c in result["citations"]] == [1]


def test_the_reviewers_wishes_reach_the_writer(docs: str) -> None:
    script: list[Any] = [PLAN, cite, cite, GOOD, "Say which gas it burns.", GOOD, "APPROVED"]
    with ScriptedChatModel(script) as model:
        result = build_research(model, settings=SETTINGS).invoke(
            {"question": QUESTION, "docs": [docs], "revisions": 2}
        )
    assert "Say which gas it burns." in model.calls[5].text
    assert result["review"] == {"approved": True, "problems": [], "revisions": 1}


def test_a_fault_of_the_writer_does_not_lose_what_was_found(docs: str) -> None:
    thread: Any = {"configurable": {"thread_id": "t"}}
    script: list[Any] = [PLAN, cite, cite, ConnectionError("gone"), GOOD, "APPROVED"]
    with ScriptedChatModel(script) as model:
        graph = build_research(model, settings=SETTINGS).copy({"checkpointer": InMemorySaver()})
        with pytest.raises(ConnectionError):
            graph.invoke({"question": QUESTION, "docs": [docs]}, thread)
        result = graph.invoke(None, thread)
    assert result["report"] == GOOD
    assert result["performance"]["roles"]["researcher"]["model_calls"] == 2


def test_what_a_researcher_took_before_a_fault_counts_after_it(docs: str) -> None:
    """The fault is inside of `ask`, which goes on in its middle."""
    thread: Any = {"configurable": {"thread_id": "t"}, "max_concurrency": 1}
    plan = "1. When was the kiln built?\n2. When is its green lamp lit?"
    again = "When is the green lamp of the kiln lit?"
    script: list[Any] = [plan, cite, again, ConnectionError("gone"), cite, GOOD, "APPROVED"]
    with ScriptedChatModel(script) as model:
        graph = build_research(model, settings=SETTINGS).copy({"checkpointer": InMemorySaver()})
        with pytest.raises(ConnectionError):
            graph.invoke({"question": QUESTION, "docs": [docs]}, thread)
        result = graph.invoke(None, thread)
    tasks = result["performance"]["tasks"]
    assert tasks["look up 2"]["model_calls"] == 2
    assert tasks["look up 2"]["input_tokens"] > tasks["look up 1"]["input_tokens"]


@pytest.mark.parametrize("at_once", [False, True])
def test_a_researcher_that_fails_is_entered_with_what_it_took(docs: str, at_once: bool) -> None:
    """Also in a run that was given an event loop."""
    given: Any = {"question": QUESTION, "docs": [docs]}
    config: Any = {"max_concurrency": 1}
    with ScriptedChatModel([PLAN, cite, ConnectionError("gone")]) as model:
        graph = build_research(model, settings=SETTINGS)
        with pytest.raises(ConnectionError) as caught:
            asyncio.run(graph.ainvoke(given, config)) if at_once else graph.invoke(given, config)
    took: Any = caught.value.performance  # type: ignore[attr-defined]
    assert took["tasks"]["plan"]["success"] is True
    [failed] = [entry for task, entry in took["tasks"].items() if task.startswith("look up")]
    assert (failed["success"], failed["failed_calls"]) == (False, 1)
    assert took["roles"]["researcher"]["succeeded"] == 0
    assert took["total"]["model_calls"] == 2


def test_a_second_draft_that_fails_is_the_second_attempt(docs: str) -> None:
    script: list[Any] = [PLAN, cite, cite, "Nothing [7].", ConnectionError("gone")]
    with ScriptedChatModel(script) as model, pytest.raises(ConnectionError) as caught:
        build_research(model, settings=SETTINGS).invoke({"question": QUESTION, "docs": [docs]})
    took: Any = caught.value.performance  # type: ignore[attr-defined]
    written = took["tasks"]["write"]
    assert (written["success"], written["attempts"], written["model_calls"]) == (False, 2, 2)


def by_prompt(request: SeenRequest) -> Reply | Status:
    """A cloud model: it knows from its instructions which role it has."""
    system, user = (part["content"] for part in request.body["messages"])
    if system.startswith("You plan"):
        return Reply(PLAN)
    if system.startswith("You write"):
        return Reply(GOOD)
    if system.startswith("You review"):
        return Reply("APPROVED")
    wanted = LAMP if "lamp" in user.rpartition("Question: ")[2] else KILN
    line = next(line for line in user.splitlines() if wanted in line)
    return Reply(f"{wanted} {line.split()[0]}")


def test_it_runs_unchanged_over_a_router_that_fails_over(docs: str) -> None:
    with FaultServer(default=Status(503)) as down, FaultServer(default=by_prompt) as up:
        settings = Settings.model_validate(
            {
                "models": {
                    name: {
                        "provider": "openai-compatible",
                        "model": name,
                        "base_url": server.openai_url,
                        "api_key": "none",
                        "price": {"input": 1, "output": 2},
                    }
                    for name, server in (("a", down), ("b", up))
                },
                "routers": {"default": {"candidates": ["a", "b"], "retries": 0}},
            }
        )
        result = workflow("research", settings=settings).invoke(
            {"question": QUESTION, "docs": [docs]}
        )
    assert result["report"] == GOOD
    total = result["performance"]["total"]
    assert total["models"] == ["b"]
    assert total["cost_usd"] > 0
    assert total["retries"] >= 1


PAGE = f"<html><title>Kilns</title><body><h1>Kilns</h1><p>{KILN} It burns gas.</p></body></html>"


@pytest.fixture
def site() -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(PAGE.encode())

        def log_message(self, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_web_pages_are_looked_in_and_cited_by_their_address(site: str) -> None:
    settings = Settings.model_validate({"tools": {"web": {"private": [site]}}})
    url = f"{site}/kilns"
    result = workflow("research", settings=settings).invoke(
        {"question": "When was the kiln built?", "urls": [url, "http://169.254.169.254/meta"]}
    )
    assert [c["source"] for c in result["citations"]] == [url]
    assert result["citations"][0]["quote"] == KILN
    assert len(result["problems"]) == 1, "the address of the cloud's metadata is refused"


def test_a_page_that_nobody_allowed_waits_for_a_person(site: str) -> None:
    settings = Settings.model_validate(
        {
            "tools": {
                "web": {"private": [site]},
                "permissions": [{"tool": "web_fetch", "permission": "ask"}],
            }
        }
    )
    thread: Any = {"configurable": {"thread_id": "t"}}
    graph = workflow("research", settings=settings).copy({"checkpointer": InMemorySaver()})
    waiting = graph.invoke({"question": "When was the kiln built?", "urls": [site]}, thread)
    assert waiting["__interrupt__"][0].value["action_requests"][0]["name"] == "web_fetch"
    done = graph.invoke(Command(resume={"decisions": [{"type": "approve"}]}), thread)
    assert done["citations"][0]["quote"] == KILN


def test_input_that_says_nothing_is_refused(docs: str) -> None:
    graph = workflow("research", settings=SETTINGS)
    for given in ({"question": " ", "docs": [docs]}, {"question": "Why?"}):
        with pytest.raises(UsageError):
            graph.invoke(given)


async def test_it_runs_asynchronously_and_its_output_is_json(docs: str) -> None:
    with ScriptedChatModel([PLAN, cite, cite, GOOD, "APPROVED"]) as model:
        result = await build_research(model, settings=SETTINGS).ainvoke(
            {"question": QUESTION, "docs": [docs]}
        )
    assert re.search(r"\[1\]", json.loads(json.dumps(result))["report"])
