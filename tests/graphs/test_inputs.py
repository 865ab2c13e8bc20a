"""Inputs of a workflow: read from its schema, filled from texts, checked with the field's name."""

import typing
from typing import Annotated, Any, Literal, NotRequired

import pytest
from langgraph.func import entrypoint
from langgraph.graph import START, MessagesState, StateGraph
from pydantic import BaseModel, Field, field_validator

from nearfar.errors import WorkflowInputError
from nearfar.graphs.inputs import InputSchema, checked, from_flags, input_schema


class Plain(typing.TypedDict):
    """A state as most people write it; ``answer`` is filled in by a step."""

    question: str
    answer: str


class Wanted(typing.TypedDict):
    """An input schema of its own."""

    count: int
    ratio: NotRequired[float]
    tags: NotRequired[list[str]]
    sizes: NotRequired[list[int]]
    options: NotRequired[dict[str, int]]
    deep: NotRequired[bool]
    mode: NotRequired[Literal["fast", "slow"] | None]
    note: NotRequired[Annotated[str, "what to keep in mind"]]


class Model(BaseModel):
    """A pydantic state."""

    n: int = Field(description="how many", ge=1)
    name: str = "x"


def step(state: Any) -> Any:
    """Do nothing."""
    return {}


def schema_of(state: Any, **kwargs: Any) -> InputSchema:
    return input_schema(
        StateGraph(state, **kwargs).add_node(step).add_edge(START, "step").compile()
    )


@pytest.fixture
def wanted() -> InputSchema:
    return schema_of(Plain, input_schema=Wanted)


def test_fields_have_the_kinds_of_their_annotations(wanted: InputSchema) -> None:
    assert wanted.fields is not None
    kinds = {field.name: (field.kind, field.required) for field in wanted.fields}
    assert kinds == {
        "count": ("integer", True),
        "ratio": ("number", False),
        "tags": ("array", False),
        "sizes": ("array", False),
        "options": ("object", False),
        "deep": ("boolean", False),
        "mode": ("string", False),
        "note": ("string", False),
    }
    mode = wanted.get("mode")
    assert mode is not None
    assert mode.choices == ("fast", "slow")
    assert mode.nullable


def test_a_whole_state_as_input_requires_nothing_beforehand() -> None:
    assert [f.required for f in schema_of(Plain).fields or ()] == [False, False]


def test_a_pydantic_state_says_what_it_requires_and_describes_it() -> None:
    schema = schema_of(Model)
    assert [(f.name, f.required, f.description) for f in schema.fields or ()] == [
        ("n", True, "how many"),
        ("name", False, ""),
    ]


def test_an_input_that_is_no_object_has_no_fields() -> None:
    @entrypoint()
    def shout(text: str) -> str:
        return text.upper()

    assert input_schema(shout).fields is None
    assert checked(input_schema(shout), "hello") == "hello"


@pytest.mark.parametrize(
    ("flags", "values"),
    [
        ([("count", "3")], {"count": 3}),
        ([("count", "-3")], {"count": -3}),
        ([("ratio", "0.5")], {"ratio": 0.5}),
        ([("tags", "a"), ("tags", "b")], {"tags": ["a", "b"]}),
        ([("tags", '["a", "b"]'), ("tags", "c")], {"tags": ["a", "b", "c"]}),
        ([("sizes", "1"), ("sizes", "2")], {"sizes": [1, 2]}),
        ([("options", '{"a": 1}')], {"options": {"a": 1}}),
        ([("deep", None)], {"deep": True}),
        ([("no-deep", None)], {"deep": False}),
        ([("deep", "no")], {"deep": False}),
        ([("mode", "slow")], {"mode": "slow"}),
        ([("mode", "null")], {"mode": None}),
        ([("note", "12")], {"note": "12"}),
        ([("note", "null")], {"note": "null"}),
    ],
)
def test_texts_become_typed_values(
    wanted: InputSchema, flags: list[tuple[str, str | None]], values: dict[str, Any]
) -> None:
    assert from_flags(wanted, flags) == values
    checked(wanted, {"count": 1, **values})


@pytest.mark.parametrize(
    ("flags", "field", "message"),
    [
        ([("count", "three")], "count", "'three' is not an integer"),
        ([("count", None)], "count", "needs a value"),
        ([("ratio", "half")], "ratio", "'half' is not a number"),
        ([("deep", "maybe")], "deep", "neither true nor false"),
        ([("options", "{")], "options", "not JSON"),
        ([("options", "[1]")], "options", "not a JSON object"),
        ([("sizes", "x")], "sizes", "not an integer"),
        ([("cuont", "3")], "cuont", "no input 'cuont'"),
    ],
)
def test_texts_that_do_not_fit_are_refused_by_name(
    wanted: InputSchema, flags: list[tuple[str, str | None]], field: str, message: str
) -> None:
    with pytest.raises(WorkflowInputError, match=message) as caught:
        from_flags(wanted, flags)
    assert caught.value.data["fields"] == [field]


@pytest.mark.parametrize(
    ("values", "fields", "message"),
    [
        ({}, ["count"], "needs 'count'"),
        ({"count": "1"}, ["count"], "not of type 'integer'"),
        ({"count": 1, "mode": "quick"}, ["mode"], "not valid|not one of"),
        ({"count": 1, "sizes": [1, "x"]}, ["sizes"], r"\[1\]"),
        ({"count": 1, "other": 1}, ["other"], "no input 'other'"),
        ([1], [], "must be a JSON object, not an array"),
    ],
)
def test_values_that_do_not_fit_are_refused_by_name(
    wanted: InputSchema, values: Any, fields: list[str], message: str
) -> None:
    with pytest.raises(WorkflowInputError, match=message) as caught:
        checked(wanted, values)
    assert caught.value.data["fields"] == fields


def test_a_pydantic_state_checks_its_own_limits() -> None:
    with pytest.raises(WorkflowInputError, match="less than the minimum of 1") as caught:
        checked(schema_of(Model), {"n": 0})
    assert caught.value.data["fields"] == ["n"]


def test_the_nearest_field_is_suggested(wanted: InputSchema) -> None:
    with pytest.raises(WorkflowInputError) as caught:
        from_flags(wanted, [("cuont", "3")])
    assert caught.value.remedy.startswith("Did you mean count?")


def test_text_for_messages_is_a_message_of_the_user() -> None:
    schema = schema_of(MessagesState)
    assert from_flags(schema, [("messages", "hello")]) == {"messages": [("user", "hello")]}
    given = from_flags(schema, [("messages", '[{"role": "user", "content": "hello"}]')])
    assert checked(schema, given) == {"messages": [{"role": "user", "content": "hello"}]}


class Even(BaseModel):
    """A pydantic state with a rule that no JSON schema can say."""

    n: int

    @field_validator("n")
    @classmethod
    def _even(cls, value: int) -> int:
        if value % 2:
            raise ValueError("must be even")
        return value


def test_rules_that_only_the_pydantic_state_knows_are_checked_before_the_run() -> None:
    with pytest.raises(WorkflowInputError, match="n: Value error, must be even"):
        checked(schema_of(Even), {"n": 3})
