"""Every fault, at every point, in every way of asking: the next candidate gives the whole answer."""

import pytest

from nearfar.errors import (
    AllCandidatesFailedError,
    ContentFilteredError,
    DeadlineExceededError,
    NearfarError,
    RejectedRequestError,
)
from nearfar.llm.router import RouterOptions
from nearfar.llm.router.verdicts import TABLE, Verdict
from nearfar.testing.fault_server import Fault, FaultServer, Reply, Status, Step, ToolCall

from .upstreams import IMPATIENT, PATIENT, Kind, Way, ask, pair

ANSWER = Reply("one two three four five six")
WAYS: tuple[Way, ...] = ("invoke", "stream", "ainvoke", "astream")
STATUSES = {
    "429": Status(429),
    "429-retry-after": Status(429, retry_after="30"),
    "429-quota": Status(429, "quota"),
    "402": Status(402),
    "500": Status(500),
    "502": Status(502),
    "503": Status(503),
    "529": Status(529),
    "401": Status(401),
    "403": Status(403),
    "404": Status(404),
    "413": Status(413),
    "context": Status(400, "context"),
}
BROKEN = {
    f"{kind}-{at}": Fault(kind, at=at, seconds=3, reply=ANSWER)
    for kind in ("reset", "cut", "stall", "error_event", "malformed", "empty", "no_end")
    for at in ("headers", "first_token", "midstream")
}
STEPS: dict[str, Step] = {**STATUSES, **BROKEN}
SDKS: tuple[Kind, ...] = ("openai", "anthropic", "google", "ollama")
CASES = [
    *((name, "lean", way) for name in STEPS for way in WAYS),
    *(
        # A call through google-genai takes a second of processor time.
        pytest.param(
            n, sdk, WAYS[(i + j) % 4], marks=[pytest.mark.long] * (sdk == "google" and i % 4 > 0)
        )
        for i, n in enumerate(STEPS)
        for j, sdk in enumerate(SDKS)
    ),
]
"""The lean model in every way; the SDKs, which are slower, in every way over the table."""
ATTEMPTS_ON_FIRST = {
    "429",
    "429-retry-after",
    "429-quota",
    "402",
    "401",
    "403",
    "404",
    "413",
    "context",
}


# google-genai makes a subclass of aiohttp's session, which aiohttp warns of.
@pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning")
@pytest.mark.parametrize(("name", "kind", "way"), CASES)
async def test_the_next_candidate_answers_whole(name: str, kind: Kind, way: Way) -> None:
    options = IMPATIENT if name.startswith("stall") else PATIENT
    with FaultServer(default=STEPS[name]) as first, FaultServer(default=ANSWER) as second:
        reply = await ask(pair(first, second, kind, options), way)

    receipt = reply.response_metadata["nearfar"]
    assert reply.text == ANSWER.text
    assert reply.response_metadata["model_name"] == "b"
    assert reply.response_metadata["finish_reason"] == "stop"
    assert reply.usage_metadata is not None
    assert receipt["answered_by"] == "b"
    assert [a["outcome"] for a in receipt["attempts"]][-1] == "answered"
    assert len(first.requests) <= 1 + options.retries
    assert len(second.requests) == 1


@pytest.mark.parametrize("name", sorted(ATTEMPTS_ON_FIRST))
async def test_what_is_not_gone_at_once_is_not_tried_again_on_the_same_candidate(name: str) -> None:
    with FaultServer(default=STATUSES[name]) as first, FaultServer(default=ANSWER) as second:
        await pair(first, second).ainvoke("x")
    assert len(first.requests) == 1


@pytest.mark.parametrize("way", WAYS)
async def test_a_500_that_is_gone_at_once_is_answered_by_the_same_candidate(way: Way) -> None:
    with FaultServer(Status(500), ANSWER) as first, FaultServer() as second:
        reply = await ask(pair(first, second), way)
    assert reply.response_metadata["nearfar"]["answered_by"] == "a"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (Status(400), RejectedRequestError),
        (Status(422), RejectedRequestError),
        (Status(400, "content_filter"), ContentFilteredError),
    ],
)
async def test_the_callers_own_faults_surface_and_go_nowhere_else(
    step: Step, expected: type[NearfarError], way: Way
) -> None:
    with FaultServer(step) as first, FaultServer() as second:
        with pytest.raises(expected) as caught:
            await ask(pair(first, second), way)
        assert not second.requests
    assert caught.value.data["receipt"]["attempts"][0]["verdict"] == "surface"


async def test_a_refused_connection_moves_on() -> None:
    with FaultServer(default=ANSWER) as second:
        gone = FaultServer().start()
        gone.stop()
        assert (await pair(gone, second).ainvoke("x")).text == ANSWER.text
        assert len(second.requests) == 1


async def test_a_context_error_never_goes_to_a_smaller_model() -> None:
    with FaultServer(Status(400, "context")) as large, FaultServer() as small:
        router = pair(small, large)
        router.candidates.reverse()
        with pytest.raises(NearfarError) as caught:
            await router.ainvoke("x")
        assert not small.requests
    assert caught.value.code == "NF-228"


@pytest.mark.parametrize("way", WAYS)
async def test_when_all_fail_the_error_lists_each_and_is_caused_by_the_first(way: Way) -> None:
    options = RouterOptions(deadline_s=8, retries=0)
    with FaultServer(default=Status(503)) as first, FaultServer(default=Status(401)) as second:
        router = pair(first, second, options=options)
        with pytest.raises(AllCandidatesFailedError) as caught:
            await ask(router, way)
    assert caught.value.__cause__ is not None
    assert len(caught.value.data["receipt"]["attempts"]) == 2


@pytest.mark.parametrize("way", WAYS)
async def test_retry_after_is_a_least_wait_and_never_outlasts_the_deadline(way: Way) -> None:
    options = RouterOptions(deadline_s=10, retries=3)
    busy = Status(429, retry_after="20")
    with FaultServer(default=busy) as first, FaultServer(default=busy) as second:
        with pytest.raises((AllCandidatesFailedError, DeadlineExceededError)):
            await ask(pair(first, second, options=options), way)
        assert len(first.requests) == len(second.requests) == 1


@pytest.mark.parametrize("way", WAYS)
async def test_a_cut_tool_call_is_never_returned_as_one(way: Way) -> None:
    call = Reply("", tool_calls=[ToolCall("add", {"numbers": list(range(40))})])
    cut = Fault("cut", at="midstream", after=4, reply=call)
    with FaultServer(default=cut) as first, FaultServer(default=call) as second:
        reply = await ask(pair(first, second), way)
    assert [c["args"] for c in reply.tool_calls] == [{"numbers": list(range(40))}]
    assert not reply.invalid_tool_calls


def test_the_table_has_a_word_for_every_fault_that_errors_name() -> None:
    assert {rule.verdict for rule in TABLE.values()} == set(Verdict)
