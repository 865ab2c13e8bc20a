"""Dialects are recognised by their templates, and their calls are read however they arrive."""

from itertools import count, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nearfar.errors import ModelLoadError
from nearfar.llm.local.dialects import (
    DIALECTS,
    CallArgsDelta,
    CallEnd,
    CallStart,
    Dialect,
    ParsedOutput,
    TextDelta,
    ToolCall,
    ToolSpec,
    detect,
    fold,
)

HERMES = DIALECTS["hermes"]
# Shortened from the families' own templates, each with the part that writes earlier calls.
QWEN = """{%- if tools %}# Tools\\n<tool_call>\\n{\\"name\\": <function-name>}\\n</tool_call>{% endif %}
{{- '\\n<tool_call>\\n{"name": "' }}{{ call.name }}{{- '", "arguments": ' }}{{- '}\\n</tool_call>' }}"""
LLAMA = """{%- if tools is not none %}{"name": function name, "parameters": ...}{% endif %}
<|start_header_id|>{{- '{"name": "' + call.name + '", ' }}{{- '"parameters": ' }}<|eot_id|>"""
MISTRAL_V03 = (
    """{%- if tools %}[AVAILABLE_TOOLS]{% endif %}{{- "[TOOL_CALLS] [" }}{{ call|tojson }}"""
)
MISTRAL_NEMO = (
    """{%- if tools %}[AVAILABLE_TOOLS]{% endif %}{{- "[TOOL_CALLS][" }}{{ call|tojson }}"""
)
PHI = """{% if tools %}<|tool|>{{ tools }}<|/tool|>{% endif %}<|{{ role }}|>{{ content }}<|end|>"""


def parse(dialect: Dialect, text: str) -> ParsedOutput:
    numbers = count(1)
    return dialect.parse(text, new_id=lambda: f"id{next(numbers)}")


def test_families_are_recognised_by_their_templates() -> None:
    qwen = detect(QWEN, {"<tool_call>": 7, "</tool_call>": 8})
    assert (qwen.name, qwen.lead, qwen.trail, qwen.between) == ("hermes", "\n", "\n", "\n")
    assert qwen.special == (("<tool_call>", 7), ("</tool_call>", 8))
    tiny = detect('{% if tools %}<tool_call>{"name": "{{ n }}"}</tool_call>{% endif %}')
    assert (tiny.name, tiny.lead, tiny.trail, tiny.between) == ("hermes", "", "", "")
    assert detect(LLAMA).name == "llama3"
    assert (detect(MISTRAL_V03).name, detect(MISTRAL_V03).lead) == ("mistral", " ")
    assert (detect(MISTRAL_NEMO).name, detect(MISTRAL_NEMO).lead) == ("mistral", "")
    assert detect(PHI, {"<|tool_call|>": 1, "<|/tool_call|>": 2}).name == "phi-4-mini"
    plain = detect("{{ messages }}")
    assert plain.name == "generic"
    assert plain.needs_prompt


def test_a_declared_dialect_wins_and_an_unknown_one_is_refused() -> None:
    assert detect(QWEN, declared="mistral").name == "mistral"
    assert detect("", declared="qwen").name == "hermes"
    with pytest.raises(ModelLoadError, match="klingon"):
        detect(QWEN, declared="klingon")


def test_separators_follow_the_template_unless_declared() -> None:
    compact = '<tool_call>{"name":"{{ n }}","arguments":{}}</tool_call>'
    assert detect(compact).key_separator == ":"
    assert detect(QWEN).key_separator == ": "
    assert detect(compact, json_separators=(", ", ": ")).key_separator == ": "


@pytest.mark.parametrize("name", DIALECTS)
def test_what_a_dialect_writes_it_reads(name: str) -> None:
    dialect = DIALECTS[name]
    calls = (ToolCall("a", {"x": ["</tool_call>", {"y": '}"'}]}, "id1"), ToolCall("b", {}, "id2"))
    assert parse(dialect, dialect.render(calls)) == ParsedOutput("", calls)


def test_ids_have_the_form_that_the_family_demands() -> None:
    assert DIALECTS["mistral"].new_id().isalnum()
    assert len(DIALECTS["mistral"].new_id()) == 9
    assert HERMES.new_id() != HERMES.new_id()


def test_text_before_and_after_calls_stays_text() -> None:
    found = parse(
        HERMES, 'Let me see.\n<tool_call>\n{"name": "a", "arguments": {}}\n</tool_call>\nOk'
    )
    assert found == ParsedOutput("Let me see.\nOk", (ToolCall("a", {}, "id1"),))


@pytest.mark.parametrize(
    "text",
    [
        '{"arguments": {"q": 1}, "name": "a"}',
        '{"name": "a", "parameters": {"q": 1}}',
        '{"name": "a", "arguments": "{\\"q\\": 1}"}',
        '{"type": "function", "function": {"name": "a", "arguments": {"q": 1}}}',
        '[{"name": "a", "arguments": {"q": 1}, "id": "x"}]',
        '{"name": "a", "arguments": {"q": 1}',
    ],
)
def test_other_ways_to_write_the_same_call_are_read(text: str) -> None:
    expected = ParsedOutput("", (ToolCall("a", {"q": 1}, "id1"),))
    assert parse(HERMES, f"<tool_call>{text}</tool_call>") == expected


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('<tool_call>{"name": "a", "arguments": {"q": nonsense}}</tool_call>', "a"),
        ('<tool_call>{"name": "a", "arguments": {"q": "cut', "a"),
        ('<tool_call>{"name": "a', None),
        ("<tool_call>hello</tool_call>", None),
        ("<tool_call></tool_call>", None),
        ("<tool_call>", None),
        ('<tool_call>{"tool": "a"}</tool_call>', None),
    ],
)
def test_broken_calls_are_invalid_calls_and_never_text(text: str, name: str | None) -> None:
    found = parse(HERMES, text)
    assert (found.text, found.calls) == ("", ())
    assert [call.name for call in found.invalid_calls] == [name]
    assert found.invalid_calls[0].error


@pytest.mark.parametrize(
    "text", ['{"name": "Bob", "age": 3}', '{"a": {"b": 1}} x', "{x}", "  {", "{"]
)
def test_json_that_is_no_call_stays_text_in_bare_dialects(text: str) -> None:
    assert parse(DIALECTS["llama3"], text) == ParsedOutput(text)


def test_optional_markers_are_known() -> None:
    call = '{"name": "a", "parameters": {}}'
    expected = ParsedOutput("", (ToolCall("a", {}, "id1"),))
    assert parse(DIALECTS["llama3"], f"<|python_tag|>{call}") == expected
    assert parse(DIALECTS["phi-4-mini"], f"functools[{call}]") == expected


def test_a_stream_gives_the_name_first_and_then_the_arguments_as_they_come() -> None:
    parser = HERMES.stream_parser(new_id=lambda: "i")
    assert parser.feed("Hi <tool") == [TextDelta("Hi ")]
    assert parser.feed('_call>{"name": "a", "argu') == []
    assert parser.feed('ments": {"q') == [CallStart(0, "i", "a"), CallArgsDelta(0, '{"q')]
    assert parser.feed('": 1') == [CallArgsDelta(0, '": 1')]
    assert parser.feed("}}") == [CallArgsDelta(0, "}"), CallEnd(0)]
    assert parser.feed("</tool_call>") == []
    assert parser.close() == []


def test_a_marker_that_does_not_come_about_is_text_in_the_end() -> None:
    parser = HERMES.stream_parser()
    assert parser.feed("1 <too") == [TextDelta("1 ")]
    assert parser.feed("th") == [TextDelta("<tooth")]
    assert parser.feed("<tool_") == []
    assert parser.close() == [TextDelta("<tool_")]


PIECES = st.sampled_from(
    [
        "Hello", " ", "\n", "<", "<tool_call>", "</tool_call>", "<tool_", "[TOOL_CALLS]", "[", "]",
        "<|tool_call|>", "<|/tool_call|>", "functools", "<|python_tag|>", ",", "{", "}", '"', "\\",
        '{"name": "a", "arguments": {"x": "}"}}', '{"name": "b", "parameters": {}}', '{"k": 1}',
        '{"arguments": {"y": [1]}, "name": "c"}', '{"name": "', '", "arguments": ', '{"q": ', "é😀",
    ]
)  # fmt: skip


@given(
    name=st.sampled_from(sorted(DIALECTS)),
    text=st.lists(PIECES, max_size=8).map("".join),
    cuts=st.lists(st.integers(0, 200), max_size=12),
)
def test_how_a_stream_is_split_changes_nothing(name: str, text: str, cuts: list[int]) -> None:
    numbers = count(1)
    parser = DIALECTS[name].stream_parser(new_id=lambda: f"id{next(numbers)}")
    marks = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    events = []
    for start, end in pairwise(marks):
        events += parser.feed(text[start:end])
    events += parser.close()
    assert fold(events) == parse(DIALECTS[name], text)


@given(name=st.sampled_from(sorted(DIALECTS)), text=st.lists(PIECES, max_size=8).map("".join))
def test_no_part_of_an_opener_is_ever_shown_as_text(name: str, text: str) -> None:
    shown = parse(DIALECTS[name], text).text
    assert not DIALECTS[name].opener or DIALECTS[name].opener not in shown


def test_the_prompt_of_the_generic_dialect_lists_tools_and_shows_how_to_call() -> None:
    generic = DIALECTS["generic"]
    prompt = generic.tool_prompt([ToolSpec("find", "Finds.", {"type": "object"})])
    assert '{"name": "TOOL", "arguments": {"ARGUMENT": "VALUE"}}' in prompt
    assert '{"name": "find", "description": "Finds.", "parameters": {"type": "object"}}' in prompt
