"""Twenty schemas of many kinds, and how to see what of a schema its values have shown."""

import datetime
import decimal
import enum
import uuid
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Optional

from jsonschema import Draft202012Validator
from pydantic import BaseModel, Field, TypeAdapter


class Node(BaseModel):
    value: int
    left: Optional["Node"] = None
    children: list["Node"] = []


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    lives: int = Field(9, ge=0, le=9)


class Dog(BaseModel):
    kind: Literal["dog", "wolf"]
    name: str = Field(min_length=2, max_length=5)


class Color(enum.Enum):
    RED = "röd"
    GREEN = "grün"
    QUOTED = 'a "quoted\\" one\n'


class Order(BaseModel):
    """What pydantic makes of the types that people use."""

    when: datetime.datetime
    day: datetime.date
    at: datetime.time | None = None
    id: uuid.UUID
    price: decimal.Decimal
    color: Color = Color.RED
    pair: tuple[int, Literal["x", "y"]]
    share: Annotated[float, Field(gt=0, le=1)]
    code: Annotated[str, Field(pattern=r"^[A-Z]{3}-\d+$")]
    counts: dict[str, int] = {}


class Owner(BaseModel):
    name: str = Field(max_length=8)
    pets: list[Annotated[Cat | Dog, Field(discriminator="kind")]] = Field(max_length=3)


def _object(required: list[str] | None = None, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required or []}


WORD = {"type": "string", "maxLength": 12}

SCHEMAS: dict[str, dict[str, Any]] = {
    "nothing": _object(),
    "one_string": _object(["text"], text={"type": "string"}),
    "all_optional": _object(a=WORD, b={"type": "integer"}, c={"type": "boolean"}, d=WORD),
    "optional_around_required": _object(["b", "d"], a=WORD, b=WORD, c=WORD, d=WORD, e=WORD),
    "enums": _object(
        ["s"],
        s={"enum": ["a", "ab", "abc", 'x"y', "\\", "日本"]},
        n={"enum": [1, 10, -2, 1.5]},
        m={"enum": [None, True, "t", {"k": [1]}, []]},
        c={"const": "fixed"},
    ),
    "numbers": _object(
        ["i", "f"],
        i={"type": "integer", "minimum": -12, "maximum": 345},
        f={"type": "number", "exclusiveMinimum": -1.5, "exclusiveMaximum": 0.25},
        u={"type": "number"},
        n={"type": "integer", "exclusiveMinimum": 0},
    ),
    "arrays": _object(
        ["a"],
        a={"type": "array", "items": WORD, "minItems": 2, "maxItems": 4},
        b={"type": "array", "items": {"type": "array", "items": {"type": "boolean"}}},
        c={"type": "array", "prefixItems": [WORD, {"type": "null"}], "items": {"type": "integer"}},
    ),
    "nested": _object(
        ["outer"],
        outer=_object(["inner"], inner=_object(["deep"], deep=WORD, also=WORD), note=WORD),
        flag={"type": "boolean"},
    ),
    "unicode_names": _object(["größe"], größe=WORD, **{'a"b\\c': WORD, "名前": WORD, "": WORD}),
    "lengths": _object(
        ["a", "b"],
        a={"type": "string", "minLength": 3, "maxLength": 3},
        b={"type": "string", "minLength": 5},
    ),
    "patterns": _object(
        ["a", "b"],
        a={"type": "string", "pattern": "^(?:foo|ba[rz]){1,3}$"},
        b={"type": "string", "pattern": "[0-9]x", "maxLength": 9},
        c={"type": "string", "pattern": r'^"[^"\s]+"\\$'},
        d={"type": "string", "pattern": "^(?!^[-+.]*$)[+-]?0*\\d*\\.?\\d*$"},
    ),
    "formats": _object(
        ["day"],
        day={"type": "string", "format": "date"},
        at={"type": "string", "format": "time"},
        stamp={"type": "string", "format": "date-time"},
        mail={"type": "string", "format": "email"},
        id={"type": "string", "format": "uuid"},
        v4={"type": "string", "format": "ipv4"},
        v6={"type": "string", "format": "ipv6"},
        host={"type": "string", "format": "hostname"},
        link={"type": "string", "format": "uri", "minLength": 1, "maxLength": 2083},
        span={"type": "string", "format": "duration"},
    ),
    "any_of": _object(
        ["v"],
        v={"anyOf": [{"type": "integer"}, WORD, _object(["k"], k={"enum": ["p", "q"]})]},
        w={"type": ["string", "null", "boolean"], "maxLength": 4},
    ),
    "all_of": {
        "allOf": [
            _object(["a"], a={"type": "integer", "minimum": 3}, b=WORD),
            {
                "properties": {"a": {"maximum": 5}, "c": {"enum": ["z", "zz"]}},
                "required": ["a", "c"],
            },
        ]
    },
    "references": {
        "$defs": {"P": _object(["x"], x={"type": "integer"}, y={"$ref": "#/$defs/Q"}), "Q": WORD},
        **_object(
            ["p"], p={"$ref": "#/$defs/P", "description": "a point"}, q={"$ref": "#/$defs/P"}
        ),
    },
    "maps": _object(
        ["counts"],
        counts={"type": "object", "additionalProperties": {"type": "integer"}},
        named={
            "type": "object",
            "propertyNames": {"enum": ["one", "two"]},
            "additionalProperties": WORD,
            "minProperties": 1,
        },
        open={**_object(["k"], k=WORD), "additionalProperties": {"type": "null"}},
    ),
    "anything": _object(["v"], v={}),
    "recursive": Node.model_json_schema(),
    "pydantic": Order.model_json_schema(),
    "discriminated": Owner.model_json_schema(),
}
assert len(SCHEMAS) == 20

MODELS: dict[str, TypeAdapter[Any]] = {
    "recursive": TypeAdapter(Node),
    "discriminated": TypeAdapter(Owner),
}


def validator(schema: Mapping[str, Any]) -> Draft202012Validator:
    return Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)


def shown(schema: Mapping[str, Any], value: Any) -> set[str]:
    """What a value shows of its schema: optional properties present or absent, enum values."""
    return set(_shown(schema, schema, value))


def to_show(schema: Mapping[str, Any]) -> set[str]:
    """All that values of a schema have to show, whatever part of it they come from."""
    found: set[str] = set()
    waiting: list[Any] = [schema]
    while waiting:
        part = waiting.pop()
        if isinstance(part, list):
            waiting += part
        if not isinstance(part, dict):
            continue
        for name in part.get("properties", ()):
            if name not in part.get("required", ()):
                found |= {f"{id(part)} with {name}", f"{id(part)} without {name}"}
        found |= {f"{id(part)} is {value!r}" for value in part.get("enum", ())}
        waiting += [v for k, v in part.items() if k not in ("enum", "const", "default")]
    return found


def _shown(root: Mapping[str, Any], part: Any, value: Any) -> Iterator[str]:  # one walk
    if not isinstance(part, dict):
        return
    if "$ref" in part:
        target: Any = root
        for step in part["$ref"].split("/")[1:]:
            target = target[step]
        yield from _shown(root, target, value)
    for branch in part.get("allOf", []):
        yield from _shown(root, branch, value)
    for branch in [*part.get("anyOf", []), *part.get("oneOf", [])]:
        if validator({**branch, "$defs": root.get("$defs", {})}).is_valid(value):
            yield from _shown(root, branch, value)
    yield from (f"{id(part)} is {v!r}" for v in part.get("enum", ()) if v == value)
    if isinstance(value, dict):
        for name, child in part.get("properties", {}).items():
            yield f"{id(part)} {'with' if name in value else 'without'} {name}"
            if name in value:
                yield from _shown(root, child, value[name])
        for name in value.keys() - part.get("properties", {}).keys():
            yield from _shown(root, part.get("propertyNames"), name)
            yield from _shown(root, part.get("additionalProperties"), value[name])
    if isinstance(value, list):
        first = part.get("prefixItems", [])
        for index, item in enumerate(value):
            child = first[index] if index < len(first) else part.get("items")
            yield from _shown(root, child, item)
