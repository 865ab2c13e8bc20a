"""Tools and structured output: forced, whole, and never half of each."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from langchain_core.exceptions import OutputParserException
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.tools import tool
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from nearfar.errors import InvalidParameterError, UnsupportedSchemaError
from nearfar.llm import LocalChatModel

SEEDS = range(12)


@tool
def lookup(
    word: Annotated[str, Field(max_length=12)], language: Literal["en", "de", "日本"]
) -> str:
    """Look a word up."""
    return word + language


@tool
def roll(sides: Annotated[int, Field(ge=2, le=20)]) -> int:
    """Roll a die."""
    return sides


@tool
def calculator(expression: str) -> str:
    """Evaluate an arithmetic expression."""
    return expression


class Person(BaseModel):
    """A person."""

    name: str = Field(max_length=24)
    age: int = Field(ge=0, le=150)
    likes: list[Literal["tea", "coffee"]] = Field(default_factory=list, max_length=3)


class Place(TypedDict):
    """A place."""

    city: Annotated[str, ..., "where"]
    kind: Annotated[Literal["town", "village"], ..., "what"]


@pytest.fixture(scope="module")
def wild(random_model: Path) -> LocalChatModel:
    """Random weights, sampled hot: whatever is not forced goes wrong."""
    return LocalChatModel(model=random_model, temperature=1.5, max_tokens=1500)


def merged(chunks: Iterable[AIMessage]) -> AIMessageChunk:
    first, *rest = [chunk for chunk in chunks if isinstance(chunk, AIMessageChunk)]
    for chunk in rest:
        first += chunk
    return first


class TestTools:
    def test_forced_calls_are_whole_and_validate(self, wild: LocalChatModel) -> None:
        bound = wild.bind_tools([lookup, roll], tool_choice="any", parallel_tool_calls=True)
        ids: list[str] = []
        counts = set()
        for seed in SEEDS:
            reply = bound.invoke("go", seed=seed)
            assert reply.content == ""
            assert reply.response_metadata["finish_reason"] == "tool_calls"
            assert not reply.invalid_tool_calls
            counts.add(len(reply.tool_calls))
            for call in reply.tool_calls:
                {"lookup": lookup, "roll": roll}[call["name"]].invoke(call["args"])
                ids.append(str(call["id"]))
        assert len(set(ids)) == len(ids)
        assert len(counts) > 1

    @pytest.mark.parametrize(
        ("choice", "names"),
        [
            ("any", {"lookup", "roll"}),
            ("required", {"lookup", "roll"}),
            (True, {"lookup", "roll"}),
            ("roll", {"roll"}),
            ({"type": "function", "function": {"name": "roll"}}, {"roll"}),
            ({"type": "tool", "name": "lookup"}, {"lookup"}),
        ],
    )
    def test_choices(self, wild: LocalChatModel, choice: Any, names: set[str]) -> None:
        bound = wild.bind_tools([lookup, roll], tool_choice=choice, parallel_tool_calls=False)
        called = [bound.invoke("go", seed=seed).tool_calls for seed in SEEDS]
        assert all(len(calls) == 1 for calls in called)
        assert {calls[0]["name"] for calls in called} == names

    def test_auto_answers_in_text_or_calls_and_never_half_of_each(
        self, wild: LocalChatModel
    ) -> None:
        bound = wild.bind_tools([roll])
        for seed in range(20):
            reply = bound.invoke("go", seed=seed, temperature=4.0, max_tokens=60)
            assert not (reply.content and reply.tool_calls)
            assert not reply.invalid_tool_calls
        starter = LocalChatModel().bind_tools([calculator])
        text, calls = starter.invoke("Hello"), starter.invoke("What is 12 * 7?")
        assert (bool(text.content), bool(text.tool_calls)) == (True, False)
        assert (bool(calls.content), bool(calls.tool_calls)) == (False, True)

    def test_none_lists_no_tools_and_calls_none(self, wild: LocalChatModel) -> None:
        bound = wild.bind_tools([roll], tool_choice="none")
        reply = bound.invoke("go", max_tokens=30, seed=1)
        assert not reply.tool_calls
        plain = wild.invoke("go", max_tokens=30, seed=1)
        assert reply.content == plain.content

    def test_calls_stream_with_their_name_first_and_ids_once(self, wild: LocalChatModel) -> None:
        bound = wild.bind_tools([lookup], tool_choice="any", parallel_tool_calls=True)
        for seed in SEEDS:
            chunks = [c for c in bound.stream("go", seed=seed) if isinstance(c, AIMessageChunk)]
            parts = [part for chunk in chunks for part in chunk.tool_call_chunks]
            for index in {part["index"] for part in parts}:
                first, *rest = [part for part in parts if part["index"] == index]
                assert (first["name"], first["args"]) == ("lookup", "")
                assert first["id"]
                assert rest
                assert all(part["name"] is None and part["id"] is None for part in rest)
            whole, asked = merged(chunks), bound.invoke("go", seed=seed)
            assert [c["args"] for c in whole.tool_calls] == [c["args"] for c in asked.tool_calls]
            assert whole.response_metadata["finish_reason"] == "tool_calls"

    def test_a_call_that_was_cut_off_never_passes_as_whole(self, wild: LocalChatModel) -> None:
        """Wherever the limit falls: LangChain would mend the JSON of merged chunks."""
        bound = wild.bind_tools([lookup], tool_choice="any", parallel_tool_calls=False)
        reply = bound.invoke("go", seed=3)
        assert reply.usage_metadata is not None
        whole = reply.usage_metadata["output_tokens"]
        for limit in [*range(1, 30), whole - 3]:
            streamed = merged(bound.stream("go", seed=3, max_tokens=limit))
            for cut in (bound.invoke("go", seed=3, max_tokens=limit), streamed):
                assert cut.response_metadata["finish_reason"] == "length"
                assert not cut.tool_calls, limit

    def test_tool_definitions_count_as_input(self, wild: LocalChatModel) -> None:
        reply = wild.bind_tools([lookup, roll], tool_choice="any").invoke("go", seed=0)
        assert reply.usage_metadata is not None
        counted = wild.get_num_tokens_from_messages([HumanMessage("go")], [lookup, roll])
        assert reply.usage_metadata["input_tokens"] == counted

    def test_a_conversation_with_results_goes_on(self, wild: LocalChatModel) -> None:
        bound = wild.bind_tools([roll], tool_choice="roll")
        asked = bound.invoke("go", seed=1)
        result = ToolMessage("4", tool_call_id=str(asked.tool_calls[0]["id"]))
        assert bound.invoke([HumanMessage("go"), asked, result], seed=1).tool_calls

    def test_an_unknown_choice_is_refused_with_what_there_is(self, wild: LocalChatModel) -> None:
        with pytest.raises(InvalidParameterError, match="'rol'") as caught:
            wild.bind_tools([roll], tool_choice="rol")
        assert caught.value.data["known"] == ["roll"]
        with pytest.raises(InvalidParameterError):
            wild.bind_tools([], tool_choice="any")

    def test_a_schema_that_cannot_be_forced_is_refused_when_bound(
        self, wild: LocalChatModel
    ) -> None:
        schema = {
            "title": "odd",
            "description": "d",
            "type": "object",
            "properties": {"a": {"not": {"type": "string"}}},
            "required": ["a"],
        }
        with pytest.raises(UnsupportedSchemaError) as caught:
            wild.bind_tools([schema])
        assert caught.value.data["keyword"] == "not"
        with pytest.raises(UnsupportedSchemaError):
            wild.with_structured_output(schema)

    def test_two_tools_of_one_name_are_refused_unless_equal(self, wild: LocalChatModel) -> None:
        wild.bind_tools([roll, roll])

        @tool("roll")
        def other(x: str) -> str:
            """Another."""
            return x

        with pytest.raises(InvalidParameterError, match="'roll'"):
            wild.bind_tools([roll, other])

    def test_arguments_that_do_not_go_together_are_refused(self, wild: LocalChatModel) -> None:
        with pytest.raises(InvalidParameterError, match="grammar"):
            wild.bind_tools([roll]).invoke("go", grammar='start: "a"')
        with pytest.raises(InvalidParameterError, match="response_format"):
            wild.invoke("go", response_format={"type": "xml"})


METHODS: list[Any] = ["json_schema", "function_calling", "json_mode"]


class TestStructuredOutput:
    @pytest.mark.parametrize("method", METHODS)
    def test_answers_are_objects_of_the_schema(self, wild: LocalChatModel, method: Any) -> None:
        people = wild.with_structured_output(Person, method=method)
        places = wild.with_structured_output(Place, method=method)
        dicts = wild.with_structured_output(Person.model_json_schema(), method=method)
        for seed in range(4):
            assert isinstance(people.invoke("who?", seed=seed), Person)
            assert places.invoke("where?", seed=seed)["kind"] in ("town", "village")
            assert Person.model_validate(dicts.invoke("who?", seed=seed))

    @pytest.mark.parametrize("method", METHODS)
    async def test_answers_stream(self, wild: LocalChatModel, method: Any) -> None:
        """Dicts grow; an object of a class comes once, whole."""
        people = wild.with_structured_output(Person, method=method)
        assert [type(p) for p in people.stream("who?", seed=1)] == [Person]
        assert [type(p) async for p in people.astream("who?", seed=1)] == [Person]
        places = wild.with_structured_output(Place, method=method)
        grown = list(places.stream("where?", seed=1))
        assert len(grown) > 2
        assert grown[-1] == places.invoke("where?", seed=1)

    @pytest.mark.parametrize("method", METHODS)
    def test_an_answer_that_was_cut_off_is_an_error(
        self, wild: LocalChatModel, method: Any
    ) -> None:
        for schema in (Person, Person.model_json_schema()):
            answer = wild.with_structured_output(schema, method=method)
            with pytest.raises(OutputParserException, match="raise max_tokens"):
                answer.invoke("who?", seed=1, max_tokens=12)
            with pytest.raises(OutputParserException, match="raise max_tokens"):
                list(answer.stream("who?", seed=1, max_tokens=12))

    def test_raw_comes_with_the_answer_and_with_the_error(self, wild: LocalChatModel) -> None:
        both = wild.with_structured_output(Person, include_raw=True)
        good = both.invoke("who?")
        assert isinstance(good["raw"], AIMessage)
        assert good["parsed"] == Person.model_validate(json.loads(str(good["raw"].content)))
        assert good["parsing_error"] is None
        bad = wild.with_structured_output(Person, include_raw=True, max_tokens=5).invoke("who?")
        assert bad["parsed"] is None
        assert isinstance(bad["parsing_error"], OutputParserException)

    def test_an_unknown_method_is_refused(self, wild: LocalChatModel) -> None:
        with pytest.raises(InvalidParameterError, match="method"):
            wild.with_structured_output(Person, method="magic")  # type: ignore[arg-type]

    def test_beside_tools_the_text_is_held_to_the_schema(self, wild: LocalChatModel) -> None:
        """What agents with a response format bind: a call, or the answer in JSON."""
        form = {"type": "json_schema", "json_schema": {"name": "p", "schema": _closed(Person)}}
        bound = wild.bind_tools([roll], response_format=form)
        replies = [bound.invoke("go", seed=seed) for seed in SEEDS]
        assert len({bool(reply.tool_calls) for reply in replies}) == 2
        for reply in replies:
            if reply.tool_calls:
                assert reply.content == ""
            else:
                Person.model_validate_json(str(reply.content))

    def test_any_object_can_be_asked_for(self, wild: LocalChatModel) -> None:
        reply = wild.invoke("go", seed=2, response_format={"type": "json_object"})
        assert isinstance(json.loads(str(reply.content)), dict)

    def test_the_prompt_tells_the_schema(self, wild: LocalChatModel) -> None:
        answer = wild.with_structured_output(Person, include_raw=True).invoke("who?", seed=1)
        plain = wild.get_num_tokens_from_messages([HumanMessage("who?")])
        assert answer["raw"].usage_metadata["input_tokens"] > plain + 20


def _closed(model: type[BaseModel]) -> dict[str, Any]:
    return {**model.model_json_schema(), "additionalProperties": False}


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_a_json_schema_is_taken_as_it_stands(wild: LocalChatModel, method: Any) -> None:
    """Also without a title, and where it says more than its properties."""
    schema = {"type": "object", "additionalProperties": {"enum": [1, 2]}, "minProperties": 1}
    made = wild.with_structured_output(schema, method=method).invoke("x")
    assert isinstance(made, dict)
    assert made
    assert set(made.values()) <= {1, 2}
    with pytest.raises(UnsupportedSchemaError, match="patternProperties"):
        wild.with_structured_output(
            {"title": "x", "type": "object", "patternProperties": {"^a": {}}}, method=method
        )


@pytest.mark.parametrize("parameters", [None, {}, {"type": "object"}])
def test_a_tool_may_have_no_properties(parameters: dict[str, Any] | None) -> None:
    function = {"name": "now", "description": "The time.", "parameters": parameters}
    if parameters is None:
        del function["parameters"]
    bound = LocalChatModel().bind_tools([{"type": "function", "function": function}])
    (call,) = bound.bind(tool_choice="any").invoke("What time is it?").tool_calls[:1]
    assert (call["name"], call["args"]) == ("now", {})


def test_arguments_that_are_no_object_are_refused_when_bound(wild: LocalChatModel) -> None:
    function = {"name": "f", "description": "", "parameters": {"type": "array"}}
    with pytest.raises(UnsupportedSchemaError, match="must be object"):
        wild.bind_tools([{"type": "function", "function": function}])
