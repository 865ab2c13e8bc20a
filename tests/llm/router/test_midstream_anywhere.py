"""However an answer is cut into pieces, and wherever it breaks: cloud to cloud, to near, from near."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage

from nearfar.errors import NearfarError
from nearfar.llm import LocalChatModel
from nearfar.llm.router import Candidate, Capabilities, Router
from nearfar.testing.fault_server import Fault, FaultServer, Reply, SeenRequest

from .test_midstream import Mortal, Outcome, check, listen
from .upstreams import Kind, candidate, merged

KINDS: tuple[Kind, ...] = ("lean", "anthropic")
ADD = {"name": "add", "description": "", "parameters": {"type": "object", "properties": {}}}

pieces = st.lists(st.text("ab \n.é", min_size=1, max_size=6), min_size=1, max_size=8)


def broken(kind: Any, after: int, reply: Reply) -> Fault:
    return Fault(kind, after=after, reply=reply)


@st.composite
def breaks(draw: st.DrawFn) -> tuple[list[str], int, Any]:
    """An answer in pieces, after how many of them it breaks, and how."""
    found = draw(pieces.filter(lambda p: bool("".join(p).strip())))
    after = draw(st.integers(0, len(found) - 1))
    return found, after, draw(st.sampled_from(["cut", "reset", "error_event", "malformed"]))


@given(breaks(), st.sampled_from(KINDS), st.sampled_from(KINDS), st.booleans(), st.booleans())
@settings(max_examples=40)
def test_cloud_to_cloud(
    broke: tuple[list[str], int, Any], one: Kind, other: Kind, prefill: bool, blanks: bool
) -> None:
    parts, after, kind = broke
    text = "".join(parts)

    def rest(request: SeenRequest) -> Reply:
        """Its blanks again, or not: models differ in whether they write them anew."""
        last = request.body["messages"][-1]
        begun = "" if last["role"] != "assistant" else _text_of(last["content"])
        assert text.startswith(begun)
        left = text[len(begun) :]
        gone = text[: sum(map(len, parts[:after]))][len(begun) :]
        return Reply(left if blanks or not begun else left.removeprefix(gone))

    async def go() -> Outcome:
        with (
            FaultServer(default=broken(kind, after, Reply(text, pieces=parts))) as first,
            FaultServer(default=rest) as second,
        ):
            router = Router(
                candidates=[
                    candidate(first, one, "a"),
                    candidate(second, other, "b", prefill=prefill),
                ]
            )
            return await listen(router, "continue")

    outcome = asyncio.run(go())
    if outcome.error is None:
        # Whether a blank at the seam was written anew or is a second one, nobody can tell.
        exact = (
            blanks or not prefill or not text[: sum(map(len, parts[:after]))].endswith((" ", "\n"))
        )
        check(outcome, text if exact else outcome.text, [])
        assert outcome.text.split() == text.split() or not exact
        assert "".join(outcome.text.split()) == "".join(text.split())
    else:  # the rest was nothing but blanks: an empty reply
        assert not text[len("".join(parts[:after])) :].strip()
        check(outcome, outcome.text, [])
        assert text.startswith(outcome.text)


def _text_of(content: Any) -> str:
    return content if isinstance(content, str) else "".join(block["text"] for block in content)


@pytest.fixture(scope="module")
def near(random_model: Path) -> Iterator[LocalChatModel]:
    model = LocalChatModel(model=str(random_model), max_tokens=10, execution_providers=("cpu",))
    yield model
    model.engine.close()


def near_candidate(model: LocalChatModel) -> Candidate:
    takes = Capabilities(prefill=True)
    return Candidate("near", model, provider="local", local=True, exact=True, takes=takes)


@given(breaks(), st.sampled_from(KINDS))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_cloud_to_near(near: LocalChatModel, broke: tuple[list[str], int, Any], kind: Kind) -> None:
    parts, after, fault = broke
    with FaultServer(default=broken(fault, after, Reply("".join(parts), pieces=parts))) as far:
        router = Router(candidates=[candidate(far, kind, "far"), near_candidate(near)])
        chunks: list[AIMessageChunk] = []
        for chunk in router.bind(max_tokens=10).stream("x"):
            assert isinstance(chunk, AIMessageChunk)
            chunks.append(chunk)
    whole = merged(chunks)
    begun = "".join(parts[:after])
    assert whole.response_metadata["model_name"] == near.info.name
    assert whole.text == begun + _rest(near, begun)
    assert whole.response_metadata["nearfar"]["continued"] is bool(begun)


def _rest(near: LocalChatModel, begun: str) -> str:
    """What the model itself goes on with, its blanks where they were."""
    if not begun.strip():
        said = str(near.invoke("x").text)  # there is nothing that a prefill could hold
    else:
        said = str(near.invoke([HumanMessage("x"), AIMessage(begun.rstrip())]).text)
    for blank in begun[len(begun.rstrip()) :]:
        if not said.startswith(blank):
            break
        said = said[1:]
    return said


def test_a_near_model_that_is_held_to_tools_is_asked_again_instead(near: LocalChatModel) -> None:
    cut = Fault("cut", after=1, reply=Reply("one two three"))
    with FaultServer(default=cut) as far:
        router = Router(candidates=[candidate(far, "lean", "far"), near_candidate(near)])
        try:
            chunks = list(router.bind_tools([ADD]).bind(max_tokens=10).stream("x"))
        except NearfarError as error:
            assert "another answer" in str(error)  # noqa: PT017  (either end is right)
        else:
            assert "".join(chunk.text for chunk in chunks).startswith("one")


@pytest.mark.parametrize(
    "lives", [1, 2, 3, 5, 8, *(pytest.param(n, marks=pytest.mark.long) for n in range(9, 40, 3))]
)
@pytest.mark.parametrize("kind", KINDS)
async def test_near_to_cloud(slow_model: Path, kind: Kind, lives: int) -> None:
    """The worker process is killed after so many chunks."""
    told: list[str] = []

    def rest(request: SeenRequest) -> Reply:
        last = request.body["messages"][-1]
        told.append(_text_of(last["content"]) if last["role"] == "assistant" else "")
        return Reply(" and the rest." if told[-1] else "A whole answer.")

    mortal = Mortal(model=str(slow_model), lives=lives, max_tokens=60, execution_providers=("cpu",))
    try:
        with FaultServer(default=rest) as far:
            first = Candidate("near", mortal, provider="local", local=True)
            router = Router(candidates=[first, candidate(far, kind, "far", prefill=True)])
            outcome = await listen(router, "continue")
    finally:
        mortal.engine.close()
    assert outcome.error is None
    assert outcome.text == (f"{told[0]} and the rest." if told[0] else "A whole answer.")
    receipt = merged(outcome.chunks).response_metadata["nearfar"]
    assert receipt["attempts"][0]["code"] == "NF-208"
    assert receipt["answered_by"] == "far"
