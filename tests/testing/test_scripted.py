"""The scripted model is strict at both ends, and is a chat model like any other."""

from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_tests.unit_tests import ChatModelUnitTests
from pydantic import BaseModel

from nearfar.testing import ScriptedChatModel, ScriptError


class TestStandard(ChatModelUnitTests):
    """langchain-tests' unit tests for chat models."""

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ScriptedChatModel

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"script": ["yes"]}


class City(BaseModel):
    """A city."""

    name: str


def weather(city: str) -> str:
    """Say the weather of a city."""
    return city


def test_replies_come_in_their_order_and_calls_are_recorded() -> None:
    with ScriptedChatModel(["one", AIMessage("two")]) as model:
        assert model.invoke("first").text == "one"
        assert model.invoke("second").text == "two"
    assert [call.text for call in model.calls] == ["first", "second"]
    assert not model.calls[0].streamed


def test_a_call_beyond_the_script_fails_and_stays_failed_at_the_end() -> None:
    model = ScriptedChatModel(["one"])
    model.invoke("first")
    with pytest.raises(ScriptError, match="call 2 is beyond the script's 1 step"):
        model.invoke("second")
    with pytest.raises(ScriptError, match="1 call"):
        model.assert_exhausted()


def test_an_unused_step_fails_at_the_end_and_is_named() -> None:
    never = r"1 step.*never asked for: 'two'"
    with (
        pytest.raises(ScriptError, match=never),
        ScriptedChatModel(["one", "two"]) as model,
    ):
        model.invoke("first")


def test_an_error_in_the_block_is_not_covered_by_an_unused_step() -> None:
    with pytest.raises(KeyError), ScriptedChatModel(["one"]):
        raise KeyError("the real one")


def test_an_exception_step_is_raised() -> None:
    with ScriptedChatModel([TimeoutError("too slow"), "again"]) as model:
        with pytest.raises(TimeoutError, match="too slow"):
            model.invoke("first")
        assert model.invoke("second").text == "again"


def test_a_function_step_sees_the_messages() -> None:
    def answer(messages: list[BaseMessage]) -> str:
        return f"{len(messages)}: {messages[-1].text}"

    with ScriptedChatModel([answer]) as model:
        assert model.invoke([HumanMessage("a"), HumanMessage("b")]).text == "2: b"


def test_a_function_that_gives_no_reply_is_a_script_error() -> None:
    seven: Any = lambda messages: 7  # noqa: E731 - a reply of the wrong type, on purpose
    model = ScriptedChatModel([seven])
    with pytest.raises(ScriptError, match="gave 7"):
        model.invoke("hello")


def test_streams_word_by_word_and_the_chunks_join_to_the_reply() -> None:
    text = "Hello there,  two\nlines \n"
    with ScriptedChatModel([text, text]) as model:
        chunks = list(model.stream("hi"))
        whole = model.invoke("hi")
    assert [chunk.content for chunk in chunks][:2] == ["Hello", " there,"]
    joined = AIMessageChunk(content="")
    for chunk in chunks:
        assert isinstance(chunk, AIMessageChunk)
        joined += chunk
    assert joined.content == text
    assert joined.usage_metadata == whole.usage_metadata
    assert joined.response_metadata["model_name"] == "scripted"
    assert joined.response_metadata["finish_reason"] == "stop"


async def test_async_calls_and_streams_follow_the_same_script() -> None:
    with ScriptedChatModel(["one", "two words"]) as model:
        assert (await model.ainvoke("hi")).text == "one"
        chunks = [chunk.text async for chunk in model.astream("hi")]
    assert "".join(chunks) == "two words"
    assert model.calls[1].streamed


@pytest.mark.parametrize("streamed", [False, True])
def test_tool_calls_arrive_whole(streamed: bool) -> None:
    call = {"name": "weather", "args": {"city": "Bern"}, "id": "1"}
    with ScriptedChatModel([AIMessage("", tool_calls=[call])]) as model:
        bound = model.bind_tools([weather], tool_choice="any")
        if streamed:
            reply: Any = None
            for chunk in bound.stream("hi"):
                reply = chunk if reply is None else reply + chunk
        else:
            reply = bound.invoke("hi")
    assert [(c["name"], c["args"], c["id"]) for c in reply.tool_calls] == [
        ("weather", {"city": "Bern"}, "1")
    ]
    assert reply.response_metadata["finish_reason"] == "tool_calls"
    assert model.calls[0].options["tool_choice"] == "any"
    assert model.calls[0].options["tools"][0]["function"]["name"] == "weather"


def test_structured_output_comes_from_a_scripted_tool_call() -> None:
    call = {"name": "City", "args": {"name": "Bern"}, "id": "1"}
    with ScriptedChatModel([AIMessage("", tool_calls=[call])]) as model:
        assert model.with_structured_output(City).invoke("where?") == City(name="Bern")


def test_stop_strings_cut_the_reply() -> None:
    with ScriptedChatModel(["one END two"]) as model:
        assert model.invoke("hi", stop=["END"]).text == "one "
    assert model.calls[0].stop == ("END",)


def test_usage_of_a_message_is_kept_and_words_are_counted_otherwise() -> None:
    usage = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}
    with ScriptedChatModel([AIMessage("a", usage_metadata=usage), "b c"]) as model:
        assert model.invoke("hi").usage_metadata == usage
        assert model.invoke("one two three").usage_metadata == {
            "input_tokens": 3,
            "output_tokens": 2,
            "total_tokens": 5,
        }


def test_a_copy_shares_the_place_in_the_script() -> None:
    with ScriptedChatModel(["one", "two"]) as model:
        assert model.model_copy().invoke("hi").text == "one"
        assert model.invoke("hi").text == "two"
