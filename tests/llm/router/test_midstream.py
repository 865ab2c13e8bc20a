"""Cut at every chunk: the answer is whole, or a typed error that carries what had gone out."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import psutil
import pytest
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk

from nearfar.errors import (
    AllCandidatesFailedError,
    BrokenReplyError,
    EngineCrashedError,
    NearfarError,
    RouterError,
)
from nearfar.llm import LocalChatModel
from nearfar.llm.router import Candidate, Router, RouterOptions
from nearfar.testing import ScriptedChatModel
from nearfar.testing.fault_server import (
    Fault,
    FaultServer,
    Reply,
    SeenRequest,
    Status,
    Step,
    ToolCall,
)

from .upstreams import PATIENT, Kind, candidate, merged

Midstream = Literal["continue", "hold", "error"]
POLICIES: tuple[Midstream, ...] = ("continue", "hold", "error")
PAIRS: list[tuple[Kind, Kind]] = [("lean", "lean"), ("lean", "anthropic"), ("anthropic", "lean")]

TEXT = "The kettle  boils at\n100 degrees; tea wants 80."
PIECES = ["The ", "kettle", " ", " boils", " at\n", "100 degrees", "; tea", " wants 80."]
ANSWER = Reply(TEXT, pieces=PIECES)
CALL = Reply("Let me see.", tool_calls=[ToolCall("add", {"numbers": list(range(12)), "by": "é"})])
CALL_ARGS = [{"numbers": list(range(12)), "by": "é"}]


@dataclass
class Outcome:
    """What a caller of a stream got."""

    chunks: list[AIMessageChunk] = field(default_factory=list)
    error: NearfarError | None = None

    @property
    def text(self) -> str:
        return "".join(chunk.text for chunk in self.chunks)


async def listen(
    router: Router, midstream: Midstream, tools: list[Any] | None = None, retries: int = 0
) -> Outcome:
    router.options = RouterOptions(
        PATIENT.deadline_s,
        PATIENT.first_token_s,
        PATIENT.stall_s,
        retries=retries,
        midstream=midstream,
    )
    outcome = Outcome()
    model = router.bind_tools(tools) if tools else router
    try:
        async for chunk in model.astream("x"):
            assert isinstance(chunk, AIMessageChunk)
            outcome.chunks.append(chunk)
    except NearfarError as error:
        outcome.error = error
    return outcome


def check(outcome: Outcome, text: str, calls: list[dict[str, Any]]) -> None:
    """The promise itself."""
    if outcome.error is None:
        whole = merged(outcome.chunks)
        assert whole.text == text
        assert [c["args"] for c in whole.tool_calls] == calls
        assert not whole.invalid_tool_calls
        assert whole.response_metadata["finish_reason"] == ("tool_calls" if calls else "stop")
        assert whole.usage_metadata
        return
    partial = getattr(outcome.error, "partial", None)
    assert (partial.text if partial else "") == outcome.text
    assert not any(chunk.tool_call_chunks for chunk in outcome.chunks)
    assert outcome.error.data["receipt"]["attempts"][0]["outcome"] == "failed"


def going_on(request: SeenRequest) -> Reply:
    """The whole answer, or its rest where it is begun by a prefill."""
    last = request.body["messages"][-1]
    begun = last["content"] if last["role"] == "assistant" else ""
    text = begun if isinstance(begun, str) else begun[0]["text"]
    assert TEXT.startswith(text)
    return Reply(TEXT[len(text) :], pieces=None if text else PIECES)


def over(
    first: FaultServer,
    second: FaultServer,
    kinds: tuple[Kind, Kind] = ("lean", "lean"),
    **takes: Any,
) -> Router:
    return Router(
        candidates=[candidate(first, kinds[0], "a"), candidate(second, kinds[1], "b", **takes)]
    )


@pytest.mark.parametrize("midstream", POLICIES)
@pytest.mark.parametrize("prefill", [True, False])
@pytest.mark.parametrize("kinds", PAIRS, ids=["-".join(pair) for pair in PAIRS])
async def test_text_cut_at_every_chunk(
    kinds: tuple[Kind, Kind], prefill: bool, midstream: Midstream
) -> None:
    for after in range(len(PIECES) + 1):
        cut = Fault("cut", after=after, reply=ANSWER) if after < len(PIECES) else _no_end(ANSWER)
        with FaultServer(default=cut) as first, FaultServer(default=going_on) as second:
            outcome = await listen(over(first, second, kinds, prefill=prefill), midstream)
        check(outcome, TEXT, [])
        assert (outcome.error is None) == (midstream != "error" or after == 0), after


@pytest.mark.parametrize("midstream", POLICIES)
@pytest.mark.parametrize("kinds", PAIRS, ids=["-".join(pair) for pair in PAIRS])
async def test_a_tool_call_cut_at_every_chunk(
    kinds: tuple[Kind, Kind], midstream: Midstream
) -> None:
    tools = [{"name": "add", "description": "", "parameters": {"type": "object", "properties": {}}}]
    events = len(CALL.text_pieces()) + 8
    for after in range(events + 1):
        cut = Fault("cut", after=after, reply=CALL) if after < events else _no_end(CALL)
        with FaultServer(default=cut) as first, FaultServer(default=CALL) as second:
            outcome = await listen(over(first, second, kinds), midstream, tools)
        check(outcome, CALL.text, CALL_ARGS)
        if outcome.error is None and midstream == "error" and after:
            # Anthropic's shape has fewer events: the first server was not cut any more.
            assert merged(outcome.chunks).response_metadata["model_name"] == "a"
        assert outcome.error is None or midstream == "error"


def _no_end(reply: Reply) -> Fault:
    return Fault("no_end", reply=reply)


@pytest.mark.parametrize("way", ["stall", "reset", "error_event", "malformed"])
async def test_other_faults_in_mid_answer_are_mended_alike(way: Any) -> None:
    fault = Fault(way, after=3, seconds=5, reply=ANSWER)
    with FaultServer(default=fault) as first, FaultServer(default=going_on) as second:
        router = over(first, second)
        router.options = RouterOptions(stall_s=1.5)
        chunks = [chunk async for chunk in router.astream("x")]
    assert merged(chunks).text == TEXT
    assert merged(chunks).response_metadata["nearfar"]["continued"] is True


async def test_another_answer_than_the_one_begun_is_an_error_with_the_part_that_went_out() -> None:
    for after in range(1, len(PIECES)):
        cut = Fault("cut", after=after, reply=ANSWER)
        other = Reply("Something else entirely.")
        with FaultServer(default=cut) as first, FaultServer(default=other) as second:
            outcome = await listen(over(first, second), "continue")
        assert isinstance(outcome.error, AllCandidatesFailedError)
        assert isinstance(outcome.error.__cause__, BrokenReplyError)
        assert outcome.text == "".join(PIECES[:after])
        check(outcome, TEXT, [])


async def test_an_answer_that_ends_where_the_first_went_on_is_an_error() -> None:
    cut = Fault("cut", after=4, reply=ANSWER)
    with FaultServer(default=cut) as first, FaultServer(default=Reply("The kettle")) as second:
        outcome = await listen(over(first, second), "continue")
    assert isinstance(outcome.error, RouterError)
    check(outcome, TEXT, [])


async def test_a_refused_prefill_is_asked_again_without_and_hides_nothing() -> None:
    def refusing(request: SeenRequest) -> Step:
        prefilled = request.body["messages"][-1]["role"] == "assistant"
        return Status(400, message="prefill is not supported") if prefilled else ANSWER

    cut = Fault("cut", after=3, reply=ANSWER)
    with FaultServer(default=cut) as first, FaultServer(default=refusing) as second:
        outcome = await listen(over(first, second, prefill=True), "continue", retries=1)
    check(outcome, TEXT, [])
    assert outcome.error is None


@pytest.mark.parametrize("step", [Status(400), Status(400, "content_filter"), Status(401)])
async def test_a_fallback_that_refuses_never_hides_the_first_fault(step: Step) -> None:
    cut = Fault("cut", after=3, reply=ANSWER)
    with FaultServer(default=cut) as first, FaultServer(default=step) as second:
        outcome = await listen(over(first, second, prefill=True), "continue")
    assert isinstance(outcome.error, AllCandidatesFailedError)
    assert isinstance(outcome.error.__cause__, BrokenReplyError)
    check(outcome, TEXT, [])


@pytest.mark.parametrize("midstream", POLICIES)
async def test_a_near_model_takes_over_from_a_far_one_at_every_chunk(midstream: Midstream) -> None:
    for after in range(len(PIECES)):
        near = ScriptedChatModel([TEXT] * 2)
        with FaultServer(default=Fault("cut", after=after, reply=ANSWER)) as first:
            router = Router(
                candidates=[candidate(first, "lean", "a"), Candidate("near", near, local=True)]
            )
            outcome = await listen(router, midstream)
        check(outcome, TEXT, [])
        assert (outcome.error is None) == (midstream != "error" or after == 0), after


class Mortal(LocalChatModel):
    """Its worker process is killed when it has streamed ``lives`` chunks."""

    lives: int = 1

    async def _astream(self, *args: Any, **kwargs: Any) -> AsyncIterator[ChatGenerationChunk]:
        left = self.lives
        async for chunk in super()._astream(*args, **kwargs):
            yield chunk
            left -= 1
            if left == 0:
                psutil.Process((await self.engine.ainfo()).pid).kill()


@pytest.mark.parametrize("midstream", POLICIES)
@pytest.mark.parametrize("lives", [1, 2, 5, 12])
async def test_a_far_model_takes_over_when_the_worker_is_killed(
    slow_model: Path, midstream: Midstream, lives: int
) -> None:
    def rest(request: SeenRequest) -> Reply:
        prefilled = request.body["messages"][-1]["role"] == "assistant"
        return Reply(" and so on." if prefilled else "A whole answer.")

    near = Mortal(model=str(slow_model), lives=lives, max_tokens=60, execution_providers=("cpu",))
    try:
        with FaultServer(default=rest) as far:
            router = Router(
                candidates=[
                    Candidate("near", near, provider="local", local=True),
                    candidate(far, "lean", "far", prefill=True),
                ]
            )
            outcome = await listen(router, midstream)
    finally:
        near.engine.close()
    if midstream == "error":
        assert isinstance(outcome.error, EngineCrashedError)
        check(outcome, "", [])
        return
    assert outcome.error is None
    begun = "".join(chunk.text for chunk in outcome.chunks[:-4]).rstrip()
    check(outcome, "A whole answer." if midstream == "hold" else f"{begun} and so on.", [])
    assert merged(outcome.chunks).response_metadata["model_name"] == "far"
