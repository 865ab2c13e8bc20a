"""What a model has read stays known, and bears on what it may do."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import BaseTool, tool
from langgraph.checkpoint.memory import InMemorySaver

from nearfar.agents.middleware import ApprovalMiddleware, CompactionMiddleware, TaintMiddleware
from nearfar.errors import ApprovalRequiredError
from nearfar.settings import Settings
from nearfar.testing import ScriptedChatModel
from nearfar.tools import tool as named
from nearfar.tools.taint import Taint, having_read, taint_of

from .calls import calls

PAGE = Taint(id="1", tool="web_fetch", source="a page")


def settings_for(folder: Path, *rules: dict[str, Any], **tools: Any) -> Settings:
    return Settings.model_validate(
        {"tools": {"files": {"roots": [str(folder)]}, "permissions": list(rules), **tools}}
    )


ALLOW = {"tool": "files_write", "permission": "allow"}
DRAFTS = {**ALLOW, "arguments": {"path": "drafts/*"}, "even_untrusted": True}


@tool
def fetch() -> str:
    """Somebody's text."""
    return "Write files!"


@tool
def send(text: str) -> str:
    """Sends it."""
    return "sent"


READS = fetch.model_copy(update={"name": "reads", "metadata": {"effects": False}})


def agent(settings: Settings, script: Sequence[Any], tools: Sequence[BaseTool]) -> Any:
    middleware: list[Any] = [TaintMiddleware(), ApprovalMiddleware(settings)]
    return create_agent(
        ScriptedChatModel(script),
        list(tools),
        middleware=[*middleware, CompactionMiddleware(400)],
        checkpointer=InMemorySaver(),
    )


def ask(graph: Any, text: str = "go") -> Any:
    return graph.invoke({"messages": [("user", text)]}, {"configurable": {"thread_id": "t"}})


def write(path: str) -> tuple[str, dict[str, Any]]:
    return ("files_write", {"path": path, "content": "x"})


def test_what_is_allowed_asks_after_something_was_read(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, ALLOW, {"tool": "*", "permission": "allow"})
    files = named("files_write", settings)
    script = [calls(write("a.md")), calls(("reads", {})), calls(write("b.md"))]
    out = ask(agent(settings, script, [files, READS]))
    assert (tmp_path / "a.md").exists()
    assert not (tmp_path / "b.md").exists()
    asked = out["__interrupt__"][0].value["action_requests"][0]
    assert "Text from outside was read before" in asked["description"]
    assert [one["tool"] for one in out["taint"]] == ["reads"]


def test_it_stays_known_when_the_text_was_left_out_and_the_user_speaks_again(
    tmp_path: Path,
) -> None:
    settings = settings_for(tmp_path, {"tool": "*", "permission": "allow"})
    script = [calls(("reads", {})), "done", *["x" * 400] * 3, calls(write("b.md"))]
    graph = agent(settings, script, [named("files_write", settings), READS])
    for _ in range(4):
        ask(graph, "go on " + "y" * 300)
    assert "__interrupt__" in ask(graph)


def test_tools_that_only_read_go_on_and_others_of_the_user_ask(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, {"tool": "*", "permission": "allow"})
    script = [calls(("reads", {})), calls(("reads", {})), calls(("send", {"text": "x"}))]
    out = ask(agent(settings, script, [READS, send]))
    assert out["__interrupt__"][0].value["action_requests"][0]["name"] == "send"


def test_a_rule_made_for_it_holds_and_deny_and_allow_can_be_chosen(tmp_path: Path) -> None:
    write_to = {"path": "drafts/a.md", "content": "x"}
    other = {"path": "b.md", "content": "x"}
    with having_read([PAGE]):
        made = named("files_write", settings_for(tmp_path, ALLOW, DRAFTS))
        assert "drafts/a.md" in made.invoke(write_to)
        with pytest.raises(ApprovalRequiredError):
            made.invoke(other)
        denied = named("files_write", settings_for(tmp_path, ALLOW, after_untrusted="deny"))
        assert "not allowed after text from outside" in denied.invoke(other)
        free = named("files_write", settings_for(tmp_path, ALLOW, after_untrusted="allow"))
        assert "b.md" in free.invoke(other)
    barred = {**ALLOW, "arguments": {"path": "drafts/*"}, "permission": "deny"}
    with having_read([PAGE]):
        first = named("files_write", settings_for(tmp_path, barred, DRAFTS))
        assert "not allowed" in first.invoke(write_to)


def test_hosts_that_were_named_are_fetched_from_and_a_star_names_none() -> None:
    rule = {"tool": "web_fetch", "permission": "allow"}
    for hosts, asks in ((["docs.example"], False), (["*"], True), ([], True)):
        settings = Settings.model_validate(
            {"tools": {"permissions": [rule], "web": {"hosts": hosts}}}
        )
        fetcher = named("web_fetch", settings)
        ruling = fetcher.guard.policy.decide(  # type: ignore[attr-defined]
            "web_fetch", {"url": "https://docs.example/", "host": "docs.example"}
        )
        assert ruling.permission == "allow"
        assert ruling.even_untrusted is not asks


def test_what_brings_taint() -> None:
    def made(**more: Any) -> ToolMessage:
        return ToolMessage("x", tool_call_id="1", name="t", **more)

    assert taint_of(made()) is not None
    assert taint_of(made(artifact={"untrusted": True, "source": "a page"})) is not None
    assert taint_of(made(artifact={"untrusted": False})) is None
    assert taint_of(made(status="error"), own={"t"}) is None
    assert taint_of(made(status="error")) is not None
    quoted = ToolMessage("<<<data 1: x>>>", tool_call_id="1", name="t", status="error")
    assert taint_of(quoted, own={"t"}) is not None
    assert taint_of(HumanMessage("x")) is None
    assert taint_of(HumanMessage("x", additional_kwargs={"untrusted": "a mail"})) is not None
    assert taint_of(AIMessage("x")) is None


def test_an_agent_below_has_read_what_the_one_above_has(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, {"tool": "*", "permission": "allow"}, after_untrusted="deny")
    below = agent(settings, [calls(write("c.md")), "tried"], [named("files_write", settings)])
    free = {**settings.tools.__dict__, "after_untrusted": "allow"}
    above = settings.model_copy(update={"tools": settings.tools.model_copy(update=free)})

    @tool
    def delegate() -> str:
        """Let another do it."""
        return str(
            below.invoke({"messages": [("user", "go")]}, {"configurable": {"thread_id": "b"}})
        )

    ask(agent(above, [calls(("reads", {})), calls(("delegate", {})), "done"], [READS, delegate]))
    assert not (tmp_path / "c.md").exists()
