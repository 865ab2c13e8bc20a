"""JSON schemas become grammars from which only fitting JSON comes, and all kinds of it."""

import json
from typing import Annotated, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.utils.function_calling import convert_to_openai_tool
from typing_extensions import TypedDict  # what LangChain asks for below Python 3.12

from nearfar.errors import UnsupportedSchemaError
from nearfar.llm.local.dialects import ToolSpec, detect
from nearfar.llm.local.grammar import Limits, check_schema, json_grammar, tools_grammar

from .grammar_sampling import SPECIAL_IDS, accepts, sample
from .grammar_schemas import MODELS, SCHEMAS, shown, to_show, validator

TEMPLATE = '<tool_call>{"name": "{{ name }}"}</tool_call>'
DIALECT = detect(TEMPLATE, SPECIAL_IDS)
FORCED = "without kind"  # a union's tag is always there, also where it has a default


@pytest.mark.parametrize("name", SCHEMAS)
def test_random_logits_make_valid_calls_that_show_all_of_the_schema(name: str) -> None:
    """50 forced calls for each of 20 schemas: 1,000 calls, all valid, no two schemas alike."""
    schema = SCHEMAS[name]
    grammar = tools_grammar([ToolSpec("f", "", schema)], DIALECT, choice="f")
    check = validator(schema)
    seen: set[str] = set()
    texts: set[str] = set()
    seed = 0
    for seed in range(50):
        text = sample(grammar, seed)
        parsed = DIALECT.parse(text)
        assert [call.name for call in parsed.calls] == ["f"], text
        assert parsed.text == ""
        assert not parsed.invalid_calls
        json.loads(text.removeprefix("<tool_call>").removesuffix("</tool_call>"))
        args = parsed.calls[0].args
        check.validate(args)
        json.dumps(args).encode("utf-8")
        if name in MODELS:
            MODELS[name].validate_python(args)
        seen |= shown(schema, args)
        texts.add(text)
    rest = {fact for fact in to_show(schema) - seen if not fact.endswith(FORCED)}
    while rest and seed < 400:  # rare values: say one of six within an optional property
        seed += 1
        rest -= shown(schema, DIALECT.parse(sample(grammar, seed)).calls[0].args)
    assert not rest
    assert len(texts) > (25 if to_show(schema) else 0)


def test_recursion_ends_at_the_limit() -> None:
    schema = SCHEMAS["recursive"]
    one = json_grammar(schema, Limits(max_depth=1))
    assert accepts(one, '{"value": 1, "left": null}')
    assert not accepts(one, '{"value": 1, "left": {"value": 2}}')
    assert accepts(json_grammar(schema), '{"value": 1, "left": {"value": 2}}')


def test_strings_hold_every_character_but_no_broken_ones() -> None:
    grammar = json_grammar({"type": "string"})
    assert accepts(grammar, json.dumps('é 😀 日本 \u2028 "\\/ \n\t', ensure_ascii=False))
    assert accepts(grammar, '"\\u00e9 \\/"')
    for wrong in ('"\\ud83d"', '"\\u0000"', '"a\nb"', '"\x00"', '"\\x"', '"'):
        assert not accepts(grammar, wrong), wrong


def test_strings_and_arrays_end_at_the_limits() -> None:
    limits = Limits(max_string_chars=5, max_array_items=2, max_digits=3, max_fraction_digits=1)
    assert accepts(json_grammar({"type": "string"}, limits), '"12345"')
    assert not accepts(json_grammar({"type": "string"}, limits), '"123456"')
    numbers = json_grammar({"type": "array", "items": {"type": "number"}}, limits)
    assert accepts(numbers, "[999.9, 0]")
    for wrong in ("[1, 2, 3]", "[1000]", "[1.25]", "[1e9]", "[01]"):
        assert not accepts(numbers, wrong), wrong


def test_a_schema_may_ask_for_more_than_the_default_limits() -> None:
    limits = Limits(max_string_chars=5)
    assert accepts(json_grammar({"type": "string", "maxLength": 8}, limits), '"12345678"')
    assert accepts(json_grammar({"type": "string", "minLength": 7}, limits), '"1234567"')
    assert accepts(json_grammar({"type": "string", "pattern": "^a{9}$"}, limits), '"aaaaaaaaa"')


def test_json_is_written_with_exactly_the_given_separators() -> None:
    schema = SCHEMAS["lengths"]
    value = {"a": "abc", "b": "abcdef"}
    compact = json_grammar(schema, separators=(",", ":"))
    assert accepts(compact, json.dumps(value, separators=(",", ":")))
    assert not accepts(compact, json.dumps(value))
    assert accepts(json_grammar(schema), json.dumps(value))


def test_a_schema_that_makes_no_fields_gives_an_empty_object() -> None:
    for schema in ({"type": "object"}, {"type": "object", "properties": {}}):
        assert sample(json_grammar(schema), 0) == "{}"


UNSUPPORTED: list[tuple[dict[str, Any], str, str]] = [
    ({"not": {"type": "null"}}, "not", "#/not"),
    ({"if": {}, "then": {}}, "if", "#/if"),
    ({"type": "object", "patternProperties": {"a": {}}}, "patternProperties", "#/patternProperties"),
    ({"type": "object", "dependentSchemas": {}}, "dependentSchemas", "#/dependentSchemas"),
    ({"unevaluatedProperties": False}, "unevaluatedProperties", "#/unevaluatedProperties"),
    ({"type": "array", "contains": {}}, "contains", "#/contains"),
    ({"type": "array", "uniqueItems": True}, "uniqueItems", "#/uniqueItems"),
    ({"type": "array", "items": [{}]}, "items", "#/items"),
    (
        {"properties": {"a": {"items": {"multipleOf": 2}}}},
        "multipleOf",
        "#/properties/a/items/multipleOf",
    ),
    ({"type": "string", "format": "uri-template"}, "format", "#/format"),
    ({"type": "string", "pattern": r"^(a)\1$"}, "pattern", "#/pattern"),
    ({"type": "string", "pattern": "(" }, "pattern", "#/pattern"),
    ({"type": "string", "minLength": 10**6}, "minLength", "#/minLength"),
    ({"$ref": "https://example.com/x.json"}, "$ref", "#/$ref"),
    ({"properties": {"a/b": {"$ref": "#/$defs/Gone"}}}, "$ref", "#/properties/a~1b/$ref"),
    ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, "oneOf", "#/oneOf"),
    ({"type": "object", "minProperties": 3, "additionalProperties": True}, "minProperties", ""),
    ({"type": "text"}, "type", "#/type"),
    ({"type": "integer", "minimum": 5, "maximum": 4}, "type", "#/type"),
    ({"enum": []}, "enum", "#/enum"),
    ({"type": "string", "maxLength": "5"}, "maxLength", "#/maxLength"),
    (
        {"$defs": {"A": {"required": ["a"], "properties": {"a": {"$ref": "#/$defs/A"}}}},
         "$ref": "#/$defs/A"},
        "$ref",
        "#/$defs/A/properties/a/$ref",
    ),
    ({"$ref": "#"}, "$ref", ""),
    ({"allOf": [{"$ref": "#"}]}, "$ref", ""),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "keyword", "pointer"), UNSUPPORTED)
def test_what_cannot_be_forced_is_refused_by_name(
    schema: dict[str, Any], keyword: str, pointer: str
) -> None:
    with pytest.raises(UnsupportedSchemaError) as caught:
        check_schema(schema)
    assert caught.value.data["keyword"] == keyword
    if pointer:
        assert caught.value.data["pointer"] == pointer
    assert repr(keyword) in caught.value.message


def test_annotations_and_unknown_keywords_change_nothing() -> None:
    plain = {"type": "string", "maxLength": 4}
    noted = {**plain, "title": "T", "default": "x", "x-mine": 1, "format": "my-own", "$comment": ""}
    assert json_grammar(plain) == json_grammar(noted)


def test_an_unreachable_branch_or_optional_field_is_left_out() -> None:
    schema = {
        "type": "object",
        "properties": {"a": False, "b": {"type": "string", "minLength": 3, "maxLength": 2}},
    }
    assert sample(json_grammar(schema), 0) == "{}"
    assert sample(json_grammar({"anyOf": [False, {"const": 1}]}), 0) == "1"


def test_the_branches_of_a_tagged_union_always_carry_their_tag() -> None:
    """Without its tag, a value of one branch would fit the other as well."""
    grammar = json_grammar(SCHEMAS["discriminated"])
    assert accepts(
        grammar, '{"name": "n", "pets": [{"kind": "cat"}, {"kind": "wolf", "name": "ab"}]}'
    )
    assert not accepts(grammar, '{"name": "n", "pets": [{"lives": 3}]}')


def test_map_keys_are_never_declared_names() -> None:
    grammar = json_grammar(
        {
            "type": "object",
            "properties": {"k": {"type": "null"}},
            "additionalProperties": {"type": "integer"},
        }
    )
    assert accepts(grammar, '{"k": null, "other": 1}')
    for wrong in ('{"k": 1}', '{"other": 1, "k": 1}', '{"\\u006b": 1}', '{"": 1}'):
        assert not accepts(grammar, wrong), wrong


class Search(TypedDict):
    """Search for something."""

    query: str
    limit: Annotated[int | None, None, "How many"]  # LangChain's way to describe


def test_what_langchain_makes_of_a_typed_dict_is_supported() -> None:
    schema = convert_to_openai_tool(Search)["function"]["parameters"]
    grammar = json_grammar(schema)
    assert accepts(grammar, '{"query": "x", "limit": 3}')
    assert accepts(grammar, '{"query": "x"}')


JSON_SCHEMA = st.recursive(
    st.sampled_from(
        [
            {"type": "string"},
            {"type": "string", "minLength": 1, "maxLength": 3},
            {"type": "integer", "minimum": -3},
            {"type": "number", "maximum": 2.5},
            {"type": "boolean"},
            {"type": "null"},
            {"enum": ["a", 1, None]},
            {"type": "string", "format": "date"},
            {"type": "string", "pattern": "^a+b?"},
            True,
        ]
    ),
    lambda inner: st.one_of(
        st.builds(
            lambda items, low: {"type": "array", "items": items, "minItems": low, "maxItems": 3},
            inner,
            st.integers(0, 2),
        ),
        st.builds(
            lambda props, needed: {
                "type": "object",
                "properties": props,
                "required": sorted(needed & props.keys()),
            },
            st.dictionaries(st.sampled_from(["a", "b", "ü", 'x"']), inner, max_size=4),
            st.sets(st.sampled_from(["a", "b", "ü"])),
        ),
        st.builds(lambda one, two: {"anyOf": [one, two]}, inner, inner),
        st.builds(lambda v: {"type": "object", "additionalProperties": v}, inner),
    ),
    max_leaves=8,
)


@settings(max_examples=60)
@given(schema=JSON_SCHEMA, seed=st.integers(0, 2**32))
def test_whatever_comes_out_of_any_schema_fits_it(schema: Any, seed: int) -> None:
    limits = Limits(max_string_chars=20, max_array_items=3, max_map_entries=2)
    text = sample(json_grammar(schema, limits), seed)
    validator(schema).validate(json.loads(text))
