"""The input of a workflow as fields: read from its schema, filled from texts, and checked.

The schema is read here and not by LangGraph's ``get_input_jsonschema``: on Python 3.11 that fails
for every ``typing.TypedDict``, which is what most graphs are written with.
"""

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_type_hints, is_typeddict

from langgraph.graph.state import CompiledStateGraph
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from nearfar.errors import WorkflowInputError

Kind = Literal["string", "integer", "number", "boolean", "array", "object", "messages", "any"]

_SCALARS: tuple[Kind, ...] = ("boolean", "integer", "number", "string")


@dataclass(frozen=True)
class Field:
    """One input of a workflow."""

    name: str
    kind: Kind
    required: bool = False
    items: Kind = "any"  # of an array
    choices: tuple[Any, ...] = ()
    default: Any = None
    nullable: bool = False
    description: str = ""
    schema: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @property
    def flag(self) -> str:
        """How the command line calls it; ``_`` may be written for ``-`` too."""
        return "--" + self.name.replace("_", "-")

    @property
    def type_text(self) -> str:
        """The type in a few words, for a help page."""
        if self.choices:
            return "|".join(str(choice) for choice in self.choices)
        if self.kind == "array":
            return f"{self.items}..." if self.items in _SCALARS else "JSON array"
        return {"object": "JSON object", "any": "text or JSON", "messages": "text or JSON"}.get(
            self.kind, self.kind
        )


@dataclass(frozen=True)
class InputSchema:
    """The fields of a workflow's input; ``fields`` is None when the input is not an object."""

    fields: tuple[Field, ...] | None
    model: type[BaseModel] | None = None  # the pydantic class that the graph will make of it

    def get(self, name: str) -> Field | None:
        """The field of that name, with ``-`` for ``_`` or not."""
        wanted = name.replace("-", "_")
        return next((f for f in self.fields or () if f.name.replace("-", "_") == wanted), None)


def input_schema(graph: Any) -> InputSchema:
    """The fields that the input of ``graph`` has.

    Where a graph declares an input schema of its own, the schema says which fields are required.
    Where the whole state is the input, a ``TypedDict`` cannot say which of its keys the steps fill
    in, so none is required beforehand (a pydantic state still says it by its defaults).
    """
    if not isinstance(graph, CompiledStateGraph):
        return _from_json_schema(graph.get_input_jsonschema(), strict=True)
    declared, state = graph.builder.input_schema, graph.builder.state_schema
    if isinstance(declared, type) and issubclass(declared, BaseModel):
        return _from_json_schema(declared.model_json_schema(), strict=True, model=declared)
    if is_typeddict(declared):
        return _from_typed_dict(declared, strict=declared is not state)
    return _from_json_schema(graph.get_input_jsonschema(), strict=True)


def _from_typed_dict(declared: Any, *, strict: bool) -> InputSchema:
    required = declared.__required_keys__ if strict else frozenset[str]()
    fields = []
    for name, hint in get_type_hints(declared, include_extras=True).items():
        fields.append(_field(name, _schema_of(hint), required=name in required))
    return InputSchema(tuple(fields))


def _schema_of(hint: Any) -> dict[str, Any]:
    """The JSON schema of one field; an empty one (anything goes) where pydantic knows none."""
    while getattr(hint, "__origin__", None) is not None and str(hint.__origin__).endswith(
        ("typing.Required", "typing.NotRequired", "typing.ReadOnly")
    ):
        hint = hint.__args__[0]
    try:
        schema: dict[str, Any] = TypeAdapter(hint).json_schema()
    except (PydanticUserError, NameError, TypeError):
        return {}
    return schema


def _from_json_schema(
    schema: Mapping[str, Any], *, strict: bool, model: type[BaseModel] | None = None
) -> InputSchema:
    root = _resolved(schema, schema.get("$defs", {}))
    if "properties" not in root:
        return InputSchema(None)
    required = set(root.get("required", ())) if strict else set()
    definitions = schema.get("$defs", {})
    fields = tuple(
        _field(name, {**part, "$defs": definitions}, required=name in required)
        for name, part in root["properties"].items()
    )
    return InputSchema(fields, model)


def _resolved(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = schema.get("$ref", "")
    name = reference.removeprefix("#/$defs/")
    return {**definitions.get(name, {}), **schema} if reference else schema


def _field(name: str, schema: dict[str, Any], *, required: bool) -> Field:
    definitions = schema.get("$defs", {})
    options = [
        _resolved(option, definitions)
        for option in schema.get("anyOf") or schema.get("oneOf") or [schema]
    ]
    real = [option for option in options if option.get("type") != "null"]
    main = real[0] if len(real) == 1 else {}
    kind = _kind(main, definitions)
    return Field(
        name,
        kind,
        required=required,
        items=_kind(_resolved(main.get("items", {}), definitions), definitions),
        choices=tuple(main.get("enum", [main["const"]] if "const" in main else ())),
        default=schema.get("default"),
        nullable=len(real) < len(options),
        description=str(schema.get("description", main.get("description", ""))).split("\n")[0],
        schema=schema,
    )


def _kind(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Kind:
    resolved = _resolved(schema, definitions)
    if resolved.get("type") == "array" and "HumanMessage" in json.dumps(resolved.get("items", {})):
        return "messages"
    found = resolved.get("type")
    return found if found in {*_SCALARS, "array", "object"} else "any"


def from_flags(schema: InputSchema, flags: Iterable[tuple[str, str | None]]) -> dict[str, Any]:
    """Values for the fields from ``(name, text)`` pairs of a command line, in their order.

    A text of None stands for a flag without a value, which only a yes/no field can have. A list is
    a JSON array, or one value for each time the flag is given. Raises WorkflowInputError.
    """
    values: dict[str, Any] = {}
    for name, text in flags:
        found = schema.get(name) or (
            schema.get(name[3:]) if name.startswith("no-") and text is None else None
        )
        if found is None:
            raise _unknown([name.replace("-", "_")], schema)
        value = _value(found, name, text)
        if found.kind == "array" and not isinstance(value, list):
            values[found.name] = [*values.get(found.name, ()), value]
        elif found.kind == "array":
            values[found.name] = [*values.get(found.name, ()), *value]
        else:
            values[found.name] = value
    return values


def _value(found: Field, name: str, text: str | None) -> Any:
    if text is None:
        if found.kind == "boolean":
            return not (name.startswith("no-") and name != found.name.replace("_", "-"))
        raise _wrong(found, "it needs a value")
    if text == "null" and found.nullable:
        return None
    if found.kind == "array":
        if text.lstrip().startswith("["):
            return _json(found, text, list)
        return _scalar(found, found.items, text)
    if found.kind == "object":
        return _json(found, text, dict)
    return _scalar(found, found.kind, text)


def _scalar(found: Field, kind: Kind, text: str) -> Any:
    try:
        if kind == "integer":
            return int(text)
        if kind == "number":
            return float(text)
    except ValueError:
        raise _wrong(found, f"{text!r} is not {_article(kind)}") from None
    if kind == "boolean":
        if text.lower() not in {"true", "false", "yes", "no", "1", "0"}:
            raise _wrong(found, f"{text!r} is neither true nor false")
        return text.lower() in {"true", "yes", "1"}
    if kind == "messages":
        return _json(found, text, list) if text.lstrip().startswith("[") else [("user", text)]
    if kind in {"object", "any", "array"}:
        return _json_or_text(text)
    return text


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _json(found: Field, text: str, wanted: type) -> Any:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise _wrong(found, f"it is not JSON ({error})") from None
    if not isinstance(value, wanted):
        raise _wrong(found, f"it is not a JSON {'array' if wanted is list else 'object'}")
    return value


def checked(schema: InputSchema, values: Any, *, partial: bool = False) -> Any:
    """``values``, when they fit the schema; ``partial`` lets required fields be absent.

    Raises WorkflowInputError that names each field that is missing, unknown or of a wrong type.
    """
    if schema.fields is None:
        return values
    if not isinstance(values, dict):
        raise WorkflowInputError(
            f"The input must be a JSON object, not {_article(_type_name(values))}.",
            data={"fields": []},
        )
    unknown = [name for name in values if all(name != f.name for f in schema.fields)]
    if unknown:
        raise _unknown(unknown, schema)
    missing = [f.name for f in schema.fields if f.required and f.name not in values]
    if missing and not partial:
        flags = " ".join(f"--{name.replace('_', '-')} ..." for name in missing)
        raise WorkflowInputError(
            f"The workflow needs {_list(missing)}.",
            remedy=f"Add {flags}; `nearfar run WORKFLOW --help` shows all fields.",
            data={"fields": missing},
        )
    for found in schema.fields:
        if found.name in values and found.kind != "messages":
            _check_type(found, values[found.name])
    if schema.model is not None and not partial:
        _check_model(schema.model, values)
    return values


def _check_type(found: Field, value: Any) -> None:
    if not found.schema:
        return
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    error = best_match(Draft202012Validator(dict(found.schema)).iter_errors(value))
    if error is not None:
        where = "".join(f"[{part!r}]" for part in error.absolute_path)
        raise _wrong(found, f"{where + ': ' if where else ''}{error.message}")


def _check_model(model: type[BaseModel], values: dict[str, Any]) -> None:
    try:
        model.model_validate(values)
    except ValidationError as error:
        problems = [(".".join(map(str, e["loc"])) or "input", e["msg"]) for e in error.errors()]
        raise WorkflowInputError(
            "The input does not fit: " + "; ".join(f"{name}: {why}" for name, why in problems),
            data={"fields": [name for name, _ in problems]},
        ) from None


def _unknown(given: Sequence[str], schema: InputSchema) -> WorkflowInputError:
    known = [f.name for f in schema.fields or ()]
    near = difflib.get_close_matches(given[0], known, n=1)
    guess = f"Did you mean {near[0]}? " if near else ""
    return WorkflowInputError(
        f"The workflow has no input {_list(given)}.",
        remedy=f"{guess}It takes: {', '.join(known) or 'nothing'}.",
        data={"fields": list(given)},
    )


def _wrong(found: Field, why: str) -> WorkflowInputError:
    return WorkflowInputError(
        f"The input {found.name} cannot be used: {why}.",
        remedy=f"It takes {found.type_text}.",
        data={"fields": [found.name]},
    )


def _list(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names)


def _article(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def _type_name(value: Any) -> str:
    names = {list: "array", str: "string", int: "integer", float: "number", bool: "boolean"}
    return names.get(type(value), "null" if value is None else type(value).__name__)
