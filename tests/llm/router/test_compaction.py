"""A conversation is made shorter by rule: what stays, what goes, and that it then fits."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

from nearfar.errors import NoCandidateError
from nearfar.llm import LocalChatModel
from nearfar.llm.router import Candidate, Capabilities, Request, Router, RouterOptions
from nearfar.llm.router.compaction import _droppable, _without, shortened
from nearfar.llm.router.replay import replay
from nearfar.testing.fault_server import FaultServer, Reply

from .upstreams import candidate

WORDS = "lorem ipsum dolor sit amet "


def size(messages: Sequence[BaseMessage]) -> int:
    """As a counter of tokens would have it: each message costs something of its own."""
    return sum(3 + len(message.text) + 5 * len(_calls([message])) for message in messages)


def within(limit: int) -> Callable[[list[BaseMessage]], bool]:
    return lambda messages: size(messages) <= limit


def _calls(messages: Sequence[BaseMessage]) -> list[str]:
    return [str(c["id"]) for m in messages if isinstance(m, AIMessage) for c in m.tool_calls]


def _orphans(messages: Sequence[BaseMessage]) -> set[str]:
    """Results whose call does not stand before them."""
    called: set[str] = set()
    found: set[str] = set()
    for message in messages:
        called.update(_calls([message]))
        if isinstance(message, ToolMessage) and message.tool_call_id not in called:
            found.add(message.tool_call_id)
    return found


def _pending(messages: Sequence[BaseMessage]) -> set[str]:
    return set(_calls(messages)) - {m.tool_call_id for m in messages if isinstance(m, ToolMessage)}


def last_turn(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """From the last message of the user on."""
    users = [n for n, m in enumerate(messages) if isinstance(m, HumanMessage)]
    return [m for m in messages[users[-1] if users else 0 :] if not isinstance(m, SystemMessage)]


texts = st.text("abc ", max_size=12)
ids = st.sampled_from([f"call_{n}" for n in range(6)])


@st.composite
def conversations(draw: st.DrawFn) -> list[BaseMessage]:
    """Any order of messages at all: calls without results, results without calls or late ones."""
    calls = st.lists(ids, max_size=3, unique=True).map(
        lambda chosen: [{"name": "f", "args": {}, "id": call} for call in chosen]
    )
    message: st.SearchStrategy[BaseMessage] = st.one_of(
        texts.map(HumanMessage),
        st.builds(lambda text, made: AIMessage(text, tool_calls=made), texts, calls),
        st.builds(lambda text, call: ToolMessage(text, tool_call_id=call), texts, ids),
        texts.map(SystemMessage),
    )
    return [SystemMessage("be kind"), *draw(st.lists(message, max_size=24))]


@given(conversations(), st.integers(0, 400))
def test_what_stays_is_whole_and_fits(messages: list[BaseMessage], limit: int) -> None:
    found = shortened(messages, within(limit))
    if found is None:
        return
    left = found.messages
    places = [next(n for n, m in enumerate(messages) if m is message) for message in left]
    assert places == sorted(places)  # a subsequence
    assert size(left) <= limit
    assert len(messages) - len(left) == found.dropped
    assert found.turns > 0
    assert [m for m in left if isinstance(m, SystemMessage)] == [
        m for m in messages if isinstance(m, SystemMessage)
    ]
    kept = {id(m) for m in left}
    assert all(id(m) in kept for m in last_turn(messages))
    assert _orphans(left) <= _orphans(messages)
    assert _pending(messages) <= set(_calls(left))
    assert [m.text for m in left] == [m.text for m in shortened(messages, within(limit)).messages]  # type: ignore[union-attr]


@given(conversations(), st.integers(0, 400))
@settings(max_examples=50)
def test_no_more_goes_than_must(messages: list[BaseMessage], limit: int) -> None:
    found = shortened(messages, within(limit))
    if found is not None and found.turns > 1:
        one_less = _without(messages, _droppable(messages)[: found.turns - 1])
        assert size(one_less) > limit


def turn(number: int, words: int = 8) -> list[BaseMessage]:
    call: Any = {"name": "look", "args": {"n": number}, "id": f"call_{number}"}
    return [
        HumanMessage(f"question {number} " + WORDS * words),
        AIMessage("", tool_calls=[call]),
        ToolMessage("found", tool_call_id=f"call_{number}"),
        AIMessage(f"answer {number}"),
    ]


def long_thread(turns: int = 8) -> list[BaseMessage]:
    thread: list[BaseMessage] = [SystemMessage("You are kind.")]
    for number in range(turns):
        thread += turn(number)
    return [*thread, HumanMessage("and now?")]


def test_the_oldest_turns_go_first() -> None:
    thread = long_thread()
    found = shortened(thread, within(size(thread) - size(turn(0)) - size(turn(1))))
    assert found is not None
    assert (found.turns, found.dropped) == (2, 8)
    assert found.messages == [thread[0], *thread[9:]]


def test_calls_without_a_result_stay() -> None:
    pending = AIMessage("", tool_calls=[{"name": "f", "args": {}, "id": "open"}])
    thread = [*turn(0), HumanMessage("wait"), pending, *turn(1), HumanMessage("now?")]
    found = shortened(thread, within(40))
    assert found is not None
    assert found.messages == [*thread[4:6], thread[-1]]


def test_a_conversation_of_one_turn_is_not_shortened() -> None:
    assert shortened(turn(0), within(0)) is None
    assert shortened([AIMessage("x" * 50)], within(10)) is None


def two(small: FaultServer, large: FaultServer, compact: bool) -> Router:
    return Router(
        candidates=[
            candidate(small, "lean", "small", max_input_tokens=700),
            candidate(large, "lean", "large", max_input_tokens=100_000),
        ],
        options=RouterOptions(compact=compact),
    )


@pytest.mark.parametrize("compact", [True, False])
async def test_a_small_candidate_gets_what_fits_and_a_large_one_all(compact: bool) -> None:
    with FaultServer(default=Reply("ok")) as small, FaultServer(default=Reply("ok")) as large:
        router = two(small, large, compact)
        thread = long_thread()
        reply = await router.ainvoke(thread)
        receipt = reply.response_metadata["nearfar"]
        assert receipt["answered_by"] == ("small" if compact else "large")
        if not compact:
            assert len(large.requests[0].body["messages"]) == len(thread)
            return
        sent = small.requests[0].body["messages"]
        entry = receipt["candidates"][0]
        assert entry["dropped"]["messages"] == len(thread) - len(sent) > 0
        assert "dropped" not in receipt["candidates"][1]
        assert (sent[0]["role"], sent[1]["role"]) == ("system", "user")
        assert sent[-1]["content"] == "and now?"
        assert replay(receipt, router.policy).is_that_of(receipt)
        await router.ainvoke(thread, model="large")
        assert len(large.requests[0].body["messages"]) == len(thread)


def test_what_cannot_be_made_short_enough_is_passed_over() -> None:
    with FaultServer() as server:
        only = candidate(server, "lean", "small", max_input_tokens=300)
        router = Router(candidates=[only], options=RouterOptions(compact=True))
        with pytest.raises(NoCandidateError, match="cannot be made short enough"):
            router.invoke([*turn(0), HumanMessage(WORDS * 200)])


def test_a_model_on_this_machine_counts_exactly(random_model: Path) -> None:
    near = LocalChatModel(model=str(random_model), execution_providers=("cpu",))
    thread = long_thread(6)
    exact = near.get_num_tokens_from_messages(thread[9:])
    one = Candidate("near", near, local=True, exact=True, takes=Capabilities(exact + 256))
    request = Request(thread, compact=True)
    tokens = request.shorten(one, exact)
    assert tokens is not None
    assert tokens <= exact
    assert near.get_num_tokens_from_messages(list(request.messages_for(one))) == tokens
