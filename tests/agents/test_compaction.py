"""What is sent fits into the window, and nothing that providers insist on is broken."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.messages.utils import count_tokens_approximately

import nearfar
from nearfar.agents.middleware import CompactionMiddleware
from nearfar.agents.middleware.compaction import LEFT_OUT, NOTE, SHORTENED, count_tokens, paired
from nearfar.testing import ScriptedChatModel
from nearfar.tools import mark_as_data


def sent_of(
    messages: Sequence[AnyMessage | Any], limit: int, system: str | None = "Be brief."
) -> Any:
    """What a model with so much room is sent."""
    with ScriptedChatModel(["ok"]) as model:
        agent: Any = create_agent(
            model, [], system_prompt=system, middleware=[CompactionMiddleware(limit)]
        )
        agent.invoke({"messages": list(messages)})
    return list(model.calls[0].messages)


def step(n: int, size: int) -> list[AnyMessage]:
    call = {"name": "look", "args": {}, "id": f"c{n}", "type": "tool_call"}
    return [
        AIMessage("", tool_calls=[call]),
        ToolMessage(f"result {n} " * size, tool_call_id=f"c{n}", name="look"),
    ]


def turn(n: int, steps: int = 1, size: int = 50) -> list[AnyMessage]:
    middle = [m for s in range(steps) for m in step(n * 100 + s, size)]
    return [HumanMessage(f"question {n}"), *middle, AIMessage(f"answer {n}")]


def is_whole(messages: list[AnyMessage]) -> bool:
    """Each call is followed by its results, and no result stands alone."""
    waiting: list[str | None] = []
    for message in messages:
        if isinstance(message, ToolMessage):
            if message.tool_call_id not in waiting:
                return False
            waiting.remove(message.tool_call_id)
        else:
            if waiting:
                return False
            waiting = (
                [c["id"] for c in message.tool_calls] if isinstance(message, AIMessage) else []
            )
    return not waiting


def test_what_fits_is_sent_as_it_is() -> None:
    messages = [*turn(1), HumanMessage("now")]
    assert [m.content for m in sent_of(messages, 10_000)[1:]] == [m.content for m in messages]


def test_results_of_earlier_calls_go_before_turns() -> None:
    messages = [*turn(1, size=300), *turn(2, size=300), HumanMessage("now")]
    sent = sent_of(messages, 300)
    assert [m.content for m in sent if m.type == "tool"] == [LEFT_OUT, LEFT_OUT]
    assert [m.content for m in sent if m.type == "human"] == ["question 1", "question 2", "now"]


def test_the_oldest_turns_go_and_the_instructions_say_so() -> None:
    messages = [m for n in range(40) for m in turn(n)] + [HumanMessage("now")]
    sent = sent_of(messages, 500)
    assert sent[0].text == f"Be brief.\n\n{NOTE}"
    assert sent[-1].content == "now"
    assert sent[-2].content == "answer 39"
    assert isinstance(sent[1], HumanMessage)
    assert is_whole(sent[1:])


def test_a_huge_result_of_the_latest_step_is_cut_and_stays_marked() -> None:
    data = mark_as_data("word " * 5000, "a page")
    call = {"name": "look", "args": {}, "id": "c", "type": "tool_call"}
    messages = [
        HumanMessage("read it"),
        AIMessage("", tool_calls=[call]),
        ToolMessage(data, tool_call_id="c", name="look"),
    ]
    result = sent_of(messages, 800)[-1].content
    assert result.startswith(data.split("\n", 1)[0])
    assert result.endswith(data.rsplit("\n", 1)[1])
    assert SHORTENED in result


@given(
    turns=st.lists(st.tuples(st.integers(0, 3), st.integers(1, 200)), max_size=8),
    now=st.integers(0, 4),
    limit=st.integers(150, 3000),
)
@settings(max_examples=60)
def test_whatever_was_said_pairs_instructions_and_the_question_are_kept(
    turns: list[tuple[int, int]], now: int, limit: int
) -> None:
    messages: list[AnyMessage] = [
        m for n, (steps, size) in enumerate(turns) for m in turn(n, steps, size)
    ]
    messages += [HumanMessage("now"), *[m for s in range(now) for m in step(9000 + s, 80)]]
    sent = sent_of(messages, limit)
    assert sent[0].text.startswith("Be brief.")
    assert "now" in [m.content for m in sent]
    assert is_whole(sent[1:])
    assert count_tokens_approximately(sent) <= limit


def test_calls_that_were_never_answered_get_a_result_and_strays_go() -> None:
    call = {"name": "look", "args": {}, "id": "c", "type": "tool_call"}
    messages: list[AnyMessage] = [
        HumanMessage("a"),
        AIMessage("", tool_calls=[call]),
        HumanMessage("b"),
        ToolMessage("stray", tool_call_id="other"),
    ]
    assert [m.type for m in paired(messages)] == ["human", "ai", "tool", "human"]


def test_the_built_in_model_counts_by_itself_and_a_long_talk_fits() -> None:
    model = nearfar.chat_model()
    messages = [m for n in range(60) for m in turn(n)] + [HumanMessage("Hello")]
    asked = [SystemMessage("s"), HumanMessage("Hello")]
    assert count_tokens(model, asked) == model.get_num_tokens_from_messages(asked)
    agent: Any = create_agent(model, [], middleware=[CompactionMiddleware()])
    out = agent.invoke({"messages": messages})
    assert out["messages"][-1].usage_metadata["input_tokens"] <= 2048
    assert len(out["messages"]) == len(messages) + 1  # the thread keeps everything


def test_a_model_of_unknown_size_is_left_alone() -> None:
    messages = [m for n in range(40) for m in turn(n)] + [HumanMessage("now")]
    with ScriptedChatModel(["ok"]) as model:
        agent: Any = create_agent(model, [], middleware=[CompactionMiddleware()])
        agent.invoke({"messages": messages})
    assert len(model.calls[0].messages) == len(messages)


@pytest.mark.parametrize("system", [None, "Be brief."])
def test_a_conversation_that_cannot_fit_is_sent_in_its_shortest_form(system: str | None) -> None:
    sent = sent_of([*turn(1), HumanMessage("word " * 1000)], 100, system)
    assert [m.type for m in sent] == ["system", "human"]
