"""Grammars for tool calls in a dialect, and for plain JSON."""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from nearfar.errors import GrammarError, UnsupportedSchemaError
from nearfar.llm.local.dialects import Dialect, ToolSpec

from .compiler import SchemaCompiler
from .lark import LarkWriter, alternatives, literal, regex, sequence
from .limits import DEFAULT_LIMITS, Limits
from .schema import refuse, types_of

DEFAULT_SEPARATORS = (", ", ": ")


def check_schema(schema: Mapping[str, Any] | bool, *, limits: Limits = DEFAULT_LIMITS) -> None:
    """Raise UnsupportedSchemaError, naming keyword and JSON pointer, if it cannot be forced."""
    json_grammar(schema, limits)


def json_grammar(
    schema: Mapping[str, Any] | bool,
    limits: Limits = DEFAULT_LIMITS,
    *,
    separators: tuple[str, str] = DEFAULT_SEPARATORS,
) -> str:
    """The grammar of JSON that fits ``schema``, with exactly these (item, key) separators.

    Raises:
        UnsupportedSchemaError: names the keyword and its JSON pointer.

    """
    return _json_grammar(_canonical(schema), limits, separators)


@lru_cache(maxsize=256)
def _json_grammar(schema: str, limits: Limits, separators: tuple[str, str]) -> str:
    writer = LarkWriter()
    symbol = SchemaCompiler(json.loads(schema), writer, limits, separators).compile()
    return writer.text(symbol)


def tools_grammar(
    tools: Sequence[ToolSpec],
    dialect: Dialect,
    *,
    choice: str = "auto",
    parallel: bool = True,
    answer: Mapping[str, Any] | bool | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> str:
    """The grammar of an answer where ``tools`` are bound.

    Args:
        tools: what can be called; names must differ.
        dialect: from `detect`, so that it knows which delimiters are special tokens.
        choice: "auto" (text, or calls and nothing else), "any" (one or more calls), or the name
            of the one tool to call exactly once.
        parallel: False allows a single call at most.
        answer: a schema that the text is held to where "auto" lets the model answer in text.
        limits: bounds of the arguments and of the number of calls.

    Raises:
        UnsupportedSchemaError: a tool's parameters cannot be forced; data also holds ``tool``.
        GrammarError: there are no tools, two of one name, or none of the name ``choice``.

    """
    names = [tool.name for tool in tools]
    if not tools or len(set(names)) < len(names):
        raise GrammarError(
            "Tool calls need at least one tool, and no name twice.",
            remedy="Bind at least one tool, each with a name of its own.",
            data={"tools": names},
        )
    if choice not in ("auto", "any") and choice not in names:
        raise GrammarError(
            f"No bound tool has the name {choice!r}.",
            remedy=f"Choose auto, any, or one of: {', '.join(names)}.",
            data={"choice": choice, "tools": names},
        )
    described = tuple((tool.name, _canonical(tool.parameters)) for tool in tools)
    held = None if answer is None else _canonical(answer)
    return _tools_grammar(
        described, dialect, choice=choice, parallel=parallel, answer=held, limits=limits
    )


@lru_cache(maxsize=64)
def _tools_grammar(
    tools: tuple[tuple[str, str], ...],
    dialect: Dialect,
    *,
    choice: str,
    parallel: bool,
    answer: str | None,
    limits: Limits,
) -> str:
    writer = LarkWriter()
    named = choice not in ("auto", "any")
    calls = alternatives(
        [
            _call(name, json.loads(parameters), dialect, writer, limits)
            for name, parameters in tools
            if not named or name == choice
        ]
    )
    one = named or not parallel or not dialect.parallel or limits.max_calls < 2
    body = _calls(writer.rule(calls), dialect, 1 if one else limits.max_calls)
    if choice != "auto":
        return writer.text(body)
    separators = (dialect.item_separator, dialect.key_separator)
    text = (
        _text(dialect, writer)
        if answer is None
        else SchemaCompiler(json.loads(answer), writer, limits, separators).compile()
    )
    return writer.text(f"{text} | {writer.rule(body)}")


def _call(name: str, parameters: Any, dialect: Dialect, writer: LarkWriter, limits: Limits) -> str:
    separators = (dialect.item_separator, dialect.key_separator)
    schema = parameters if parameters != {} else {"type": "object"}
    try:
        arguments = SchemaCompiler(_as_object(schema), writer, limits, separators).compile()
    except UnsupportedSchemaError as error:
        raise UnsupportedSchemaError(
            f"Tool {name!r}: {error.message}", data={**error.data, "tool": name}
        ) from None
    head = f'{{"name"{dialect.key_separator}{dialect.dumps(name)}{dialect.item_separator}'
    head += f'"{dialect.arguments_key}"{dialect.key_separator}'
    return sequence(literal(head), arguments, '"}"')


def _as_object(schema: Any) -> Any:
    """Arguments are an object, also where the schema does not say so."""
    if isinstance(schema, Mapping) and "type" not in schema and "$ref" not in schema:
        return {**schema, "type": "object"}
    if isinstance(schema, Mapping) and "type" in schema and "object" not in types_of(schema):
        refuse("type", "#/type", "must be object, as arguments are")
    return schema


def _calls(call: str, dialect: Dialect, most: int) -> str:
    opener, closer = _marker(dialect.opener, dialect), _marker(dialect.closer, dialect)
    lead, trail = _optional(dialect.lead), _optional(dialect.trail)
    if dialect.as_list:
        comma = literal(dialect.item_separator)
        more = f"({comma} {call}){{0,{most - 1}}}" if most > 1 else ""
        return sequence(opener, lead, '"["', call, more, '"]"', trail, closer)
    whole = sequence(opener, lead, call, trail, closer)
    more = f"({sequence(_optional(dialect.between), whole)}){{0,{most - 1}}}" if most > 1 else ""
    return sequence(whole, more)


def _optional(text: str) -> str:
    return literal(text) if text else ""


def _marker(text: str, dialect: Dialect) -> str:
    """A delimiter: the token itself where the tokenizer has one."""
    token = dict(dialect.special).get(text)
    return _optional(text) if token is None else f"<[{token}]>"


def _text(dialect: Dialect, writer: LarkWriter) -> str:
    """Text that is certainly not a call: not blank, and no opener anywhere in it.

    Where a call is bare JSON, the text must not begin with a brace.
    """
    first = r"[^ \t\r\n]" if dialect.opener else r"[^ \t\r\n{]"
    parts = [regex(rf"[ \t\r\n]{{0,8}}{first}(?s:.*)")]
    for marker in (dialect.opener, *dialect.also_opened_by):
        if marker:
            escaped = "".join(f"\\x{{{ord(char):x}}}" for char in marker)
            parts.append("~" + regex(f"(?s:.*){escaped}(?s:.*)"))
    return writer.terminal(" & ".join(parts))


def _canonical(schema: Any) -> str:
    """A schema as a cache key; the order of properties matters, so keys are not sorted."""
    try:
        return json.dumps(schema, ensure_ascii=False)
    except (TypeError, ValueError) as problem:
        raise UnsupportedSchemaError(
            f"The schema is not JSON: {problem}.", data={"keyword": "", "pointer": "#"}
        ) from None
