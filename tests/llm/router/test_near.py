"""A model on this machine as a candidate, and what gates look at before any byte is sent."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.outputs import ChatGenerationChunk
from pydantic import BaseModel

from nearfar.errors import NearfarError, NoCandidateError
from nearfar.llm import LocalChatModel, chat_model
from nearfar.llm.router import Candidate, Router, RouterOptions
from nearfar.settings import Settings
from nearfar.testing import ScriptedChatModel
from nearfar.testing.fault_server import Fault, FaultServer, Reply, SeenRequest, Status, Step
from tests.llm.upstream_by_rule import answer

from .upstreams import Way, ask, candidate

WAYS: tuple[Way, ...] = ("invoke", "stream", "ainvoke", "astream")


class Person(BaseModel):
    """A person."""

    name: str
    age: int


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def over_dead_and_near(dead: FaultServer) -> Router:
    settings = Settings.model_validate(
        {
            "models": {
                "far": {
                    "provider": "openai-compatible",
                    "model": "far-1",
                    "base_url": dead.openai_url,
                },
                "near": {"model": "builtin", "local": {"max_tokens": 64}},
            },
            "routers": {"default": {"candidates": ["far", "near"]}},
        }
    )
    found = chat_model(settings=settings)
    assert isinstance(found, Router)
    return found


@pytest.fixture
def router() -> Any:
    """Over a far model that is dead and the model that comes with the package."""
    dead = FaultServer().start()
    dead.stop()
    return over_dead_and_near(dead)


@pytest.mark.parametrize("way", WAYS)
async def test_the_near_model_answers_when_the_far_one_is_gone(router: Router, way: Way) -> None:
    reply = await ask(router, way)
    receipt = reply.response_metadata["nearfar"]
    assert reply.response_metadata["provider"] == "local"
    assert reply.response_metadata["model_name"] == LocalChatModel().info.name
    assert (receipt["answered_by"], receipt["local"]) == ("near", True)
    assert [a["outcome"] for a in receipt["attempts"]][-1] == "answered"
    assert receipt["attempts"][-1]["model"] == LocalChatModel().info.name
    assert reply.usage_metadata is not None


class LoadsSlowly(ScriptedChatModel):
    """As a model whose weights take half a second to load."""

    async def aprepare(self) -> None:
        await asyncio.sleep(0.5)

    async def _astream(
        self, messages: list[BaseMessage], *args: Any, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in self._stream(messages, *args, **kwargs):
            yield chunk


@pytest.mark.parametrize("way", WAYS)
async def test_loading_a_model_is_not_its_silence(way: Way) -> None:
    slow = Candidate("slow", LoadsSlowly(script=["ready"]), local=True)
    reply = await ask(Router(candidates=[slow], options=RouterOptions(first_token_s=0.3)), way)
    assert reply.text == "ready"
    assert reply.response_metadata["nearfar"]["attempts"][0]["first_token_s"] < 0.3


async def test_loading_does_not_outlast_the_deadline() -> None:
    slow = Candidate("slow", LoadsSlowly(script=["ready"]), local=True)
    with pytest.raises(NearfarError) as caught:
        await Router(candidates=[slow], options=RouterOptions(deadline_s=0.1)).ainvoke("x")
    assert caught.value.code == "NF-243"


@pytest.mark.parametrize("way", WAYS)
async def test_a_private_request_never_goes_far(way: Way) -> None:
    with FaultServer() as far:
        router = Router(
            candidates=[
                candidate(far, "lean", "far"),
                Candidate("near", ScriptedChatModel(["here"]), local=True),
            ]
        )
        reply = await ask(router.bind(private=True), way)
        assert reply.text == "here"
        assert not far.requests
    reasons = [c.get("reason") for c in reply.response_metadata["nearfar"]["candidates"]]
    assert reasons[0] == "private: the request must not leave this machine"


@pytest.mark.parametrize("way", WAYS)
async def test_a_private_request_fails_where_nothing_is_near(way: Way) -> None:
    with FaultServer() as far:
        router = Router(candidates=[candidate(far, "lean", "far")])
        with pytest.raises(NoCandidateError):
            await ask(router.bind(private=True), way)
        assert not far.requests


async def test_a_private_request_stays_near_also_when_the_near_model_fails() -> None:
    with FaultServer() as far:
        broken = ScriptedChatModel([ConnectionResetError("gone")] * 2)
        near = Candidate("near", broken, local=True)
        router = Router(candidates=[near, candidate(far, "lean", "far")])
        with pytest.raises(NearfarError):
            await router.ainvoke("x", private=True)
        assert not far.requests


def test_a_near_model_counts_the_prompt_exactly(router: Router) -> None:
    near = router.candidates[1]
    messages: list[BaseMessage] = [HumanMessage("How many tokens are these? " * 5)]
    exact = LocalChatModel().get_num_tokens_from_messages(messages)
    assert near.count(messages, ()) == exact
    assert near.takes.max_input_tokens == LocalChatModel().info.window


async def test_what_does_not_fit_a_near_model_is_passed_over_before_it_is_asked(
    router: Router,
) -> None:
    with pytest.raises(NearfarError) as caught:
        await router.ainvoke("word " * 20_000, model="near")
    assert isinstance(caught.value, NoCandidateError)
    assert "length:" in caught.value.message


@pytest.mark.parametrize(
    ("takes", "options", "content", "reason"),
    [
        (
            {"tool_calling": False},
            {"tools": [{"type": "function", "function": {"name": "f"}}]},
            "x",
            "tools",
        ),
        ({"json": False}, {"response_format": {"type": "json_object"}}, "x", "json"),
        ({"vision": False}, {}, [{"type": "image", "url": "http://127.0.0.1/x.png"}], "vision"),
        ({"max_input_tokens": 300}, {"max_tokens": 299}, "x " * 40, "length"),
    ],
)
async def test_a_candidate_that_cannot_is_passed_over_with_its_reason(
    takes: dict[str, Any], options: dict[str, Any], content: Any, reason: str
) -> None:
    with FaultServer() as cannot, FaultServer(Reply("yes")) as can:
        router = Router(
            candidates=[candidate(cannot, "lean", "a", **takes), candidate(can, "lean", "b")]
        )
        reply = await router.ainvoke([HumanMessage(content)], **options)
        assert not cannot.requests
    first = reply.response_metadata["nearfar"]["candidates"][0]
    assert first["candidate"] == "a"
    assert first["reason"].startswith(reason)


async def test_an_agent_goes_on_when_its_first_model_dies_in_the_middle() -> None:
    def dying(request: SeenRequest) -> Step:
        return answer(request) if len(first.requests) == 1 else Status(503)

    with FaultServer(default=dying) as first, FaultServer(default=answer) as second:
        router = Router(
            candidates=[candidate(first, "lean", "a"), candidate(second, "anthropic", "b")]
        )
        agent: Any = create_agent(router, [add])
        state = await agent.ainvoke({"messages": [HumanMessage("What is 3 and 3?")]})
    messages = state["messages"]
    assert [message.type for message in messages] == ["human", "ai", "tool", "ai"]
    assert [m.response_metadata["model_name"] for m in messages if m.type == "ai"] == ["a", "b"]
    assert messages[2].content == "6"


@pytest.mark.parametrize("kind", ["lean", "anthropic"])
async def test_structured_output_comes_from_whoever_answers(kind: Any) -> None:
    cut = Fault("cut", after=1, reply=Reply("x y z"))
    with FaultServer(default=cut) as first, FaultServer(default=answer) as second:
        router = Router(candidates=[candidate(first, "lean", "a"), candidate(second, kind, "b")])
        found = await router.with_structured_output(Person).ainvoke("Ada is 36.")
    assert found == Person(name="something", age=36)


class Verdict(BaseModel):
    """Whether it is so."""

    holds: bool


def test_structured_output_of_the_near_model(router: Router) -> None:
    found = router.with_structured_output(Verdict).invoke("Is ice cold?")
    assert isinstance(found, Verdict)


def test_batches_are_answered_in_their_order() -> None:
    with FaultServer(default=answer) as server:
        router = Router(candidates=[candidate(server, "lean", "a")])
        replies = router.batch([f"number {n}" for n in range(12)])
    assert [r.text for r in replies] == [f"You said: number {n}." for n in range(12)]
