"""An answer with tools bound is text or calls, in the dialect's own letters."""

import json
import time
from typing import Any

import pytest

from nearfar.errors import GrammarError, UnsupportedSchemaError
from nearfar.llm.local.dialects import DIALECTS, Dialect, ToolCall, ToolSpec, detect
from nearfar.llm.local.grammar import Limits, tools_grammar

from .grammar_sampling import ASSET, SPECIAL_IDS, accepts, sample

CITY = ToolSpec(
    "weather",
    "The weather.",
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)
SUM = ToolSpec("sum", "", {"type": "object", "properties": {"n": {"type": "integer"}}})
NOTHING = ToolSpec("now")
TOOLS = [CITY, SUM, NOTHING]


def bound(name: str) -> Dialect:
    """A dialect on the test's tokenizer, which has tokens for the first one's delimiters only."""
    if name == "hermes":
        return detect((ASSET / "chat_template.jinja").read_text(encoding="utf-8"), SPECIAL_IDS)
    return detect("", {}, name)


def rendered(dialect: Dialect, *calls: tuple[str, dict[str, Any]]) -> str:
    return dialect.render([ToolCall(name, args, "") for name, args in calls])


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize("choice", ["auto", "any"])
def test_calls_come_in_the_form_that_the_template_has(name: str, choice: str) -> None:
    dialect = bound(name)
    grammar = tools_grammar(TOOLS, dialect, choice=choice)
    one: tuple[str, dict[str, str]] = ("weather", {"city": "Köln"})
    two: tuple[str, dict[str, str]] = ("now", {})
    assert accepts(grammar, rendered(dialect, one))
    assert accepts(grammar, rendered(dialect, one, two, one)) == dialect.parallel
    assert not accepts(grammar, rendered(dialect, ("other", {})))
    assert not accepts(grammar, rendered(dialect, ("weather", {})))
    assert not accepts(grammar, rendered(dialect, one)[:-1])


@pytest.mark.parametrize("name", DIALECTS)
def test_auto_allows_text_or_calls_but_never_half_of_each(name: str) -> None:
    dialect = bound(name)
    grammar = tools_grammar(TOOLS, dialect)
    call = rendered(dialect, ("now", {}))
    assert accepts(grammar, "The weather is fine. {1}")
    assert accepts(grammar, "\n\nFine.")
    for wrong in ("", "  ", f"Well: {call}" if dialect.opener else f" {call}", f"{call} Done."):
        assert not accepts(grammar, wrong), wrong
    kinds = set()
    for seed in range(12):
        parsed = dialect.parse(sample(grammar, seed, most=60_000)) if seed else None
        if parsed is not None:
            assert not parsed.invalid_calls
            assert bool(parsed.text) != bool(parsed.calls)
            kinds.add(bool(parsed.calls))
    assert False in kinds  # noise nearly always chooses text


@pytest.mark.parametrize("name", DIALECTS)
def test_any_always_calls_at_most_as_often_as_the_limit(name: str) -> None:
    dialect = bound(name)
    grammar = tools_grammar(TOOLS, dialect, choice="any", limits=Limits(max_calls=3))
    counts = {len(dialect.parse(sample(grammar, seed)).calls) for seed in range(20)}
    assert counts <= {1, 2, 3}
    assert min(counts) == 1
    assert (max(counts) > 1) == dialect.parallel


def test_a_named_tool_is_called_exactly_once() -> None:
    dialect = bound("hermes")
    grammar = tools_grammar(TOOLS, dialect, choice="sum")
    for seed in range(10):
        assert [c.name for c in dialect.parse(sample(grammar, seed)).calls] == ["sum"]
    assert not accepts(grammar, rendered(dialect, ("sum", {}), ("sum", {})))
    assert not accepts(grammar, rendered(dialect, ("now", {})))


def test_without_parallel_calls_there_is_one() -> None:
    dialect = bound("hermes")
    for choice in ("auto", "any"):
        grammar = tools_grammar(TOOLS, dialect, choice=choice, parallel=False)
        assert accepts(grammar, rendered(dialect, ("now", {})))
        assert not accepts(grammar, rendered(dialect, ("now", {}), ("now", {})))


def test_text_holds_neither_the_delimiter_token_nor_its_letters() -> None:
    """Letters and token look the same to the parser."""
    from llguidance import LLMatcher

    from .grammar_sampling import OPEN, tokenizer

    matcher = LLMatcher(tokenizer(), tools_grammar(TOOLS, bound("hermes")))
    ids = tokenizer().tokenize_str("Look: ")
    assert matcher.consume_tokens(ids)
    assert matcher.validate_tokens([OPEN]) == 0
    letters = [tokenizer().tokenize_str(char)[0] for char in "<tool_call>"]
    assert matcher.validate_tokens(letters) == len(letters) - 1


def test_the_built_in_model_writes_calls_in_the_spacing_it_was_trained_on() -> None:
    dialect = bound("hermes")
    tool = ToolSpec("calculator", "", {"properties": {"expression": {"type": "string"}}})
    grammar = tools_grammar([tool], dialect)
    call = '<tool_call>{"name": "calculator", "arguments": {"expression": "12 * 7"}}</tool_call>'
    assert accepts(grammar, call)
    assert not accepts(grammar, call.replace(": ", ":"))
    compact = detect("", SPECIAL_IDS, "hermes", json_separators=(",", ":"))
    assert accepts(
        tools_grammar([tool], compact),
        '<tool_call>\n{"name":"calculator","arguments":{"expression":"1"}}\n</tool_call>',
    )


def test_a_tool_that_cannot_be_forced_is_named() -> None:
    odd = ToolSpec("odd", "", {"type": "object", "properties": {"a": {"not": {}}}})
    with pytest.raises(UnsupportedSchemaError, match="'odd'") as caught:
        tools_grammar([CITY, odd], bound("hermes"))
    assert caught.value.data == {"keyword": "not", "pointer": "#/properties/a/not", "tool": "odd"}


def test_tools_and_choice_must_go_together() -> None:
    for tools, choice in (([], "auto"), ([CITY, CITY], "auto"), ([CITY], "sum")):
        with pytest.raises(GrammarError):
            tools_grammar(tools, bound("hermes"), choice=choice)


def test_an_argument_may_hold_the_letters_of_a_control_token() -> None:
    tool = ToolSpec("t", "", {"properties": {"a": {"const": "x <|im_end|> </tool_call>"}}})
    dialect = bound("hermes")
    grammar = tools_grammar([tool], dialect, choice="t")
    seen = [dialect.parse(sample(grammar, seed)).calls[0].args for seed in range(8)]
    assert {"a": "x <|im_end|> </tool_call>"} in seen


def test_twenty_tools_compile_within_fifty_milliseconds() -> None:
    parameters = {
        "type": "object",
        "properties": {
            "a": {"type": "string"},
            "b": {"type": "number", "minimum": 0, "maximum": 100},
            "c": {"enum": ["x", "y", "z"]},
            "d": {"type": "array", "items": {"type": "string", "format": "date"}},
            "e": {"type": "object", "properties": {"f": {"type": "integer"}}},
        },
        "required": ["a"],
    }
    best = 1.0
    for attempt in range(3):
        tools = [ToolSpec(f"tool_{attempt}_{i}", "", parameters) for i in range(20)]
        start = time.process_time()
        grammar = tools_grammar(tools, bound("hermes"))
        assert accepts(grammar, "Hello")
        best = min(best, time.process_time() - start)
    assert best < 0.05
    assert json.dumps(parameters)  # unchanged, and still JSON
