"""What each provider is sent, over the wire, of a thread that others have answered so far."""

import re
from itertools import pairwise, permutations
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from nearfar.llm import LocalChatModel
from nearfar.llm.router import Candidate, Router
from nearfar.testing.fault_server import FaultServer, Reply, SeenRequest
from tests.llm.upstream_by_rule import answer

from .upstreams import Kind, candidate

ADD = {"name": "add", "description": "", "parameters": {"type": "object", "properties": {}}}
ODD_ID = "functions.add:0|" + "x" * 60
THINKING = {"type": "thinking", "thinking": "hm", "signature": "sig-1"}
SEARCHED: list[Any] = [
    {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"q": "x"}},
    {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []},
]
REASONED = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "enc-1"}
LOOKED_UP = {"type": "web_search_call", "id": "ws_1", "status": "completed"}
FOREIGN_WORDS = {
    "openai": ["sig-1", "thinking", "server_tool_use", "web_search_tool_result", "enc-1", "ws_1"],
    "anthropic": ["enc-1", "rs_1", "web_search_call", "ws_1"],
}


def history() -> list[BaseMessage]:
    """Turns by Anthropic, by OpenAI's Responses and by a local model, and a result that lost its call."""
    call: Any = {"name": "add", "args": {"a": 1}, "id": ODD_ID, "type": "tool_call"}
    use = {"type": "tool_use", "id": ODD_ID, "name": "add", "input": {"a": 1}}
    return [
        ToolMessage("41", tool_call_id="lost", name="add"),
        HumanMessage("first"),
        AIMessage(
            [THINKING, *SEARCHED, {"type": "text", "text": "I look."}, use],
            tool_calls=[call],
            response_metadata={"model_provider": "anthropic"},
        ),
        ToolMessage("2", tool_call_id=ODD_ID),
        AIMessage(
            [REASONED, LOOKED_UP, {"type": "text", "text": "It is two.", "annotations": []}],
            response_metadata={"model_provider": "openai"},
        ),
        HumanMessage("second"),
        AIMessage("Indeed.", response_metadata={"provider": "local"}),
        HumanMessage("and now?"),
    ]


def check_openai(messages: list[dict[str, Any]]) -> None:
    """Each result follows its call, ids are plain, content is what chat completions know."""
    open_calls: set[str] = set()
    for message in messages:
        if message["role"] == "tool":
            assert message["tool_call_id"] in open_calls
            open_calls.remove(message["tool_call_id"])
            continue
        assert not open_calls
        open_calls = {call["id"] for call in message.get("tool_calls") or ()}
        assert all(re.fullmatch(r"[\w-]{1,64}", call) for call in open_calls)
        content = message.get("content")
        assert content is None or isinstance(content, str)
    assert not open_calls


def check_anthropic(messages: list[dict[str, Any]]) -> None:
    """Roles take turns, and each result stands in the message right after its call's."""
    open_uses: set[str] = set()
    roles = [message["role"] for message in messages]
    assert roles[0] == "user"
    assert all(one != other for one, other in pairwise(roles))
    for message in messages:
        content = message["content"]
        blocks = [{"type": "text"}] if isinstance(content, str) else content
        results = {b["tool_use_id"] for b in blocks if b["type"] == "tool_result"}
        assert results == open_uses
        open_uses = {b["id"] for b in blocks if b["type"] == "tool_use"}
        assert all(re.fullmatch(r"[\w-]{1,64}", use) for use in open_uses)
    assert not open_uses


def check_wire(kind: Kind, request: SeenRequest) -> None:
    """As strict as the provider's own server."""
    body = request.body
    shape = "anthropic" if kind == "anthropic" else "openai"
    (check_anthropic if shape == "anthropic" else check_openai)(body["messages"])
    for word in FOREIGN_WORDS[shape]:
        assert word not in str(body["messages"])


@pytest.mark.parametrize("kind", ["lean", "openai", "anthropic"])
async def test_every_provider_is_sent_what_it_reads(kind: Kind) -> None:
    with FaultServer(default=Reply("Yes.")) as server:
        router = Router(candidates=[candidate(server, kind, "m")])
        reply = await router.bind_tools([ADD]).ainvoke(history())
        [request] = server.requests
    assert reply.text == "Yes."
    check_wire(kind, request)
    said = str(request.body["messages"])
    for kept in ("I look.", "It is two.", "Indeed.", "41"):
        assert kept in said
    if kind == "anthropic":
        assert "sig-1" in said  # its own reasoning goes back to it, signed
        assert "srvtoolu_1" in said


def test_a_model_on_this_machine_reads_such_a_thread(random_model: Path) -> None:
    near = LocalChatModel(model=str(random_model), max_tokens=4, execution_providers=("cpu",))
    router = Router(candidates=[Candidate("near", near, provider="local", local=True)])
    assert router.invoke(history()).response_metadata["provider"] == "local"
    assert router.bind_tools([ADD]).invoke(history()).response_metadata["nearfar"]["local"]


@pytest.mark.parametrize("kinds", list(permutations(("lean", "anthropic", "near"))))
async def test_a_thread_changes_its_model_at_every_turn(
    kinds: tuple[str, ...], tiny_model: Path
) -> None:
    near = LocalChatModel(model=str(tiny_model), max_tokens=60)
    with FaultServer(default=answer) as server:
        candidates = [
            Candidate("near", near, provider="local", local=True),
            candidate(server, "lean", "lean"),
            candidate(server, "anthropic", "anthropic"),
        ]
        tools = [{**ADD, "parameters": {"type": "object", "properties": {}}}]
        router = Router(candidates=candidates)
        thread = history()
        for name in kinds:
            asked = router.bind_tools(tools, tool_choice="any").bind(model=name)
            reply = await asked.ainvoke(thread)
            assert reply.response_metadata["nearfar"]["answered_by"] == name
            assert reply.tool_calls
            results = [ToolMessage("6", tool_call_id=c["id"]) for c in reply.tool_calls]
            thread += [reply, *results]
            last = await router.ainvoke(thread, model=name)
            thread += [last, HumanMessage("go on")]
        requests = list(server.requests)
    assert len(requests) == 4
    for request in requests:
        check_wire(
            "anthropic" if "anthropic" in request.path or "messages" in request.path else "lean",
            request,
        )


WEB_SEARCH = {"type": "web_search_20250305", "name": "web_search", "max_uses": 2}


@pytest.mark.parametrize("kind", ["lean", "anthropic"])
async def test_built_in_tools_go_only_to_whose_they_are(kind: Kind) -> None:
    with FaultServer(default=Reply("Yes.")) as server:
        router = Router(candidates=[candidate(server, kind, "m")])
        tools: list[Any] = [WEB_SEARCH, ADD, {"google_search": {}}]
        reply = await router.bind_tools(tools).ainvoke("x")
        sent = server.requests[0].body["tools"]
        await router.bind_tools([{"google_search": {}}]).ainvoke("x")
        assert "tools" not in server.requests[1].body
    receipt = reply.response_metadata["nearfar"]["attempts"][0]
    if kind == "anthropic":
        assert WEB_SEARCH in sent
        assert receipt["without_tools"] == ["google_search"]
    else:
        assert [tool["function"]["name"] for tool in sent] == ["add"]
        assert receipt["without_tools"] == ["web_search_20250305", "google_search"]
