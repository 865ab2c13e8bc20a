"""What a reply is held to: tools that may or must be called, a JSON schema, a grammar.

``constrain`` turns the arguments of a call (in OpenAI's shapes, which LangChain binds) into one
grammar. It is called when tools are bound, so that a schema which cannot be forced is refused
there, and again with each request, when the grammar is in a cache.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nearfar.errors import InvalidParameterError

from .dialects import Dialect
from .grammar import json_grammar, tools_grammar
from .model_text import tool_specs

AUTO, ANY, NONE = "auto", "any", "none"
_SYNONYMS: Mapping[Any, str] = {
    None: AUTO,
    "auto": AUTO,
    "any": ANY,
    "required": ANY,
    "none": NONE,
}
ANY_OBJECT: Mapping[str, Any] = {"type": "object"}


@dataclass(frozen=True)
class Constraint:
    """What the request and the reader of the reply need to know."""

    grammar: str | None = None
    tools: tuple[Mapping[str, Any], ...] = ()  # those that the prompt lists
    calls: bool = False  # whether tool calls are read out of the reply
    schema: str | None = None  # JSON: what the prompt says about the form of the answer


def constrain(dialect: Dialect, arguments: Mapping[str, Any]) -> Constraint:
    """The constraint that ``tools``, ``tool_choice``, ``parallel_tool_calls``, ``response_format``
    and ``grammar`` amount to.

    Raises UnsupportedSchemaError for a schema that cannot be forced, InvalidParameterError for
    arguments that do not go together.
    """
    grammar = arguments.get("grammar")
    tools = tools_as_dicts(arguments.get("tools") or ())
    choice = choice_of(arguments.get("tool_choice"), [t["function"]["name"] for t in tools])
    schema = _schema_of(arguments.get("response_format"))
    if grammar is not None:
        if tools or schema is not None:
            raise _clash("grammar goes with neither tools nor response_format.", "grammar")
        if not isinstance(grammar, str):
            raise _clash("grammar must be a text in Lark's notation.", "grammar")
        return Constraint(grammar)
    told = json.dumps(schema, ensure_ascii=False) if schema else None
    separators = (dialect.item_separator, dialect.key_separator)
    if not tools or choice == NONE:
        grammar = None if schema is None else json_grammar(schema, separators=separators)
        return Constraint(grammar, schema=told)
    grammar = tools_grammar(
        tool_specs(tools),
        dialect,
        choice=choice,
        parallel=arguments.get("parallel_tool_calls") is not False,
    )
    return Constraint(grammar, tuple(tools), calls=True, schema=told if choice == AUTO else None)


def tools_as_dicts(tools: Sequence[Any]) -> list[dict[str, Any]]:
    """Tools of any kind that LangChain knows, as OpenAI tool definitions; each name once."""
    from langchain_core.utils.function_calling import convert_to_openai_tool

    by_name: dict[str, dict[str, Any]] = {}
    for tool in tools:
        definition = convert_to_openai_tool(tool)
        if "function" not in definition:
            raise _clash(f"A tool of the type {definition.get('type')!r} is not known.", "tools")
        name = definition["function"]["name"]
        known = by_name.setdefault(name, definition)
        if _untitled(known) != _untitled(definition):
            raise _clash(f"Two different tools are called {name!r}.", "tools")
    return list(by_name.values())


def choice_of(given: Any, names: Sequence[str]) -> str:
    """``auto``, ``any``, ``none`` or a tool's name, from whatever form it was given in."""
    if isinstance(given, Mapping):
        function = given.get("function")
        named = function.get("name") if isinstance(function, Mapping) else given.get("name")
        given = named or given.get("type")
    if given is True:
        given = ANY
    if given is False:
        given = NONE
    if isinstance(given, str) and given in names:
        return given
    choice = _SYNONYMS.get(given) if isinstance(given, str | None) else None
    if choice is None:
        raise InvalidParameterError(
            f"tool_choice names {given!r}, which is none of the tools.",
            remedy=f"Use auto, any, none, or one of: {', '.join(names) or '(no tool is bound)'}.",
            data={"parameter": "tool_choice", "value": str(given), "known": list(names)},
        )
    if choice == ANY and not names:
        raise _clash("tool_choice asks for a call, but no tool is bound.", "tool_choice")
    return choice


def json_schema_format(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """The ``response_format`` that forces a schema."""
    return {"type": "json_schema", "json_schema": {"name": name, "schema": dict(schema)}}


def _schema_of(response_format: Any) -> Mapping[str, Any] | None:
    """The schema in OpenAI's ``response_format``; None for text."""
    if response_format is None:
        return None
    kind = response_format.get("type") if isinstance(response_format, Mapping) else None
    if kind == "text":
        return None
    if kind == "json_object":
        return ANY_OBJECT
    if kind == "json_schema":
        inner = response_format.get("json_schema")
        schema = inner.get("schema") if isinstance(inner, Mapping) else None
        if isinstance(schema, Mapping):
            return schema
    raise InvalidParameterError(
        "response_format must be an object of the type text, json_object or json_schema (with "
        "its schema under json_schema.schema).",
        data={"parameter": "response_format", "value": str(kind)},
    )


def _clash(message: str, parameter: str) -> InvalidParameterError:
    return InvalidParameterError(
        message, remedy="Leave one of them out.", data={"parameter": parameter, "value": None}
    )


def _untitled(value: Any) -> Any:
    """Without the titles that one way of making a schema adds and another does not."""
    if isinstance(value, Mapping):
        return {
            key: _untitled(item)
            for key, item in value.items()
            if not (key == "title" and isinstance(item, str))
        }
    return [_untitled(item) for item in value] if isinstance(value, list) else value
