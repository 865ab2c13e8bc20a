"""JSON schemas as a tree of located nodes: references, merging, and what is refused."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, NoReturn

from nearfar.errors import UnsupportedSchemaError

Value = Any  # a JSON value
TYPES: Final = ("string", "integer", "number", "boolean", "null", "array", "object")

_REFUSED: Final = (
    "not",
    "if",
    "patternProperties",
    "dependentSchemas",
    "dependentRequired",
    "dependencies",
    "unevaluatedItems",
    "unevaluatedProperties",
    "contains",
    "multipleOf",
    "additionalItems",
    "$dynamicRef",
    "$recursiveRef",
)
_STRING: Final = frozenset({"minLength", "maxLength", "pattern", "format"})
_NUMBER: Final = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"})
_ARRAY: Final = frozenset({"items", "prefixItems", "minItems", "maxItems", "uniqueItems"})
_OBJECT: Final = frozenset(
    {
        "properties",
        "required",
        "additionalProperties",
        "propertyNames",
        "minProperties",
        "maxProperties",
    }
)
_SHARED: Final = frozenset({"type", "enum", "const", "anyOf", "oneOf", "allOf", "$ref"})
ASSERTIONS: Final = _STRING | _NUMBER | _ARRAY | _OBJECT | _SHARED
_COUNTS: Final = frozenset(
    {"minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"}
)
_EXPECTED: Final[Mapping[str, type | tuple[type, ...]]] = {
    **dict.fromkeys(_COUNTS, int),
    **dict.fromkeys(_NUMBER, (int, float, Decimal)),
    **dict.fromkeys(("pattern", "format", "$ref"), str),
    **dict.fromkeys(("enum", "prefixItems", "anyOf", "oneOf", "allOf", "required"), (list, tuple)),
    **dict.fromkeys(("items", "additionalProperties", "propertyNames"), (Mapping, bool)),
    "properties": Mapping,
    "type": (str, list, tuple),
    "uniqueItems": bool,
}


@dataclass(frozen=True, eq=False)
class Node:
    """A schema and where it stands, as a JSON pointer.

    ``identity`` tells schemas apart that stand in one place: a part of one, or one merged.
    """

    schema: Mapping[str, Any] | bool
    pointer: str
    identity: str = ""

    @property
    def key(self) -> str:
        """Equal for nodes that mean the same."""
        return self.identity or self.pointer

    @property
    def keywords(self) -> Mapping[str, Any]:
        """The schema as a mapping; True allows all, False is handled before."""
        return self.schema if isinstance(self.schema, Mapping) else {}

    def child(self, *path: str | int) -> "Node":
        """A subschema."""
        found: Any = self.schema
        pointer = self.pointer
        for step in path:
            found = found[step]
            pointer = f"{pointer}/{str(step).replace('~', '~0').replace('/', '~1')}"
        identity = "/".join([self.identity, *map(str, path)]) if self.identity else ""
        if isinstance(found, Node):
            return found
        if not isinstance(found, Mapping | bool):
            refuse(str(path[-1]), pointer, "is not a schema")
        return Node(found, pointer, identity)

    def without(self, *keywords: str) -> "Node":
        """The rest of the schema."""
        rest = {k: v for k, v in self.keywords.items() if k not in keywords}
        return Node(rest, self.pointer, f"{self.key}-{','.join(keywords)}")

    def children(self, keyword: str) -> list["Node"]:
        """The subschemas of a keyword that holds a list of them."""
        return [self.child(keyword, i) for i in range(len(self.keywords[keyword]))]

    def asserts(self) -> bool:
        """Whether anything here limits a value."""
        return any(keyword in ASSERTIONS for keyword in self.keywords)


def refuse(keyword: str, pointer: str, why: str) -> NoReturn:
    """Raise the error that names a keyword and its place."""
    raise UnsupportedSchemaError(
        f"The schema cannot be forced: {keyword!r} at {pointer} {why}.",
        data={"keyword": keyword, "pointer": pointer},
    )


def check_keywords(node: Node) -> None:
    """Refuse keywords that cannot be forced, and values that no schema may hold."""
    schema = node.keywords
    for keyword in _REFUSED:
        if keyword in schema:
            refuse(keyword, f"{node.pointer}/{keyword}", "is not supported")
    for keyword in _EXPECTED.keys() & schema.keys():
        expected = _EXPECTED[keyword]
        value: Any = schema[keyword]
        wrong = isinstance(value, bool) and expected in (int, (int, float, Decimal))
        if wrong or not isinstance(value, (*_tuple(expected), Node)):
            refuse(keyword, f"{node.pointer}/{keyword}", "holds a value that is not allowed there")
        if keyword in _COUNTS and schema[keyword] < 0:
            refuse(keyword, f"{node.pointer}/{keyword}", "is negative")
    for name in types_of(schema, declared_only=True):
        if name not in TYPES:
            refuse("type", f"{node.pointer}/type", f"names an unknown type {name!r}")


def _tuple(expected: type | tuple[type, ...]) -> tuple[type, ...]:
    return expected if isinstance(expected, tuple) else (expected,)


def types_of(schema: Mapping[str, Any], *, declared_only: bool = False) -> list[str]:
    """The types that a schema speaks about; empty where it allows all."""
    declared = schema.get("type", ())
    if declared or declared_only:
        return [declared] if isinstance(declared, str) else list(declared)
    implied = (
        ("object", _OBJECT),
        ("array", _ARRAY),
        ("string", _STRING),
        ("number", _NUMBER),
    )
    return [name for name, keywords in implied if keywords & schema.keys()]


class Document:
    """A root schema: what its references lead to, and which of them lead back to themselves."""

    def __init__(self, root: Mapping[str, Any] | bool) -> None:
        self.root = Node(root, "#")
        self._targets: dict[str, Node] = {}
        self._recursive: dict[str, bool] = {}

    def resolve(self, ref: str, pointer: str) -> Node:
        """The node that a local reference names."""
        if ref in self._targets:
            return self._targets[ref]
        if ref != "#" and not ref.startswith("#/"):
            refuse("$ref", f"{pointer}/$ref", "leads outside of the schema")
        node = self.root
        for step in ref.split("/")[1:]:
            key = step.replace("~1", "/").replace("~0", "~")
            value: Any = node.schema
            here: str | int = key
            if isinstance(value, list) and key.isdecimal():
                here = int(key)
            try:
                value = value[here]
            except (KeyError, IndexError, TypeError):
                refuse("$ref", f"{pointer}/$ref", f"leads to {ref}, which does not exist")
            node = Node(value, f"{node.pointer}/{step}")
        if not isinstance(node.schema, Mapping | bool):
            refuse("$ref", f"{pointer}/$ref", f"leads to {ref}, which is not a schema")
        self._targets[ref] = node
        return node

    def is_recursive(self, ref: str) -> bool:
        """Whether what ``ref`` names contains itself."""
        if ref not in self._recursive:
            seen: set[str] = set()
            waiting = list(self._refs_below(ref))
            while waiting:
                found = waiting.pop()
                if found not in seen:
                    seen.add(found)
                    waiting += self._refs_below(found)
            self._recursive[ref] = ref in seen
        return self._recursive[ref]

    def _refs_below(self, ref: str) -> list[str]:
        return list(_refs(self.resolve(ref, ref).schema))


def _refs(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for item in value.values():
            yield from _refs(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _refs(item)


def merge(left: Node, right: Node) -> Node:
    """A schema whose values fit both; neither has a $ref or allOf of its own any more."""
    identity = f"({left.key} & {right.key})"
    if left.schema is False or right.schema is False:
        return Node(False, left.pointer, identity)
    merged = {k: v for k, v in left.keywords.items() if k in ASSERTIONS}
    merged = {k: _held(left, k) for k in merged}
    for keyword in right.keywords:
        if keyword not in ASSERTIONS or keyword in ("properties", "additionalProperties"):
            continue
        value = _held(right, keyword)
        if keyword not in merged:
            merged[keyword] = value
        elif left.keywords[keyword] != right.keywords[keyword]:
            merged[keyword] = _both(keyword, merged[keyword], value, right.pointer)
    _merge_properties(merged, left, right)
    return Node(merged, left.pointer, identity)


def _held(node: Node, keyword: str) -> Any:
    """A keyword's value, its subschemas as nodes, so that they keep their place."""
    value = node.keywords[keyword]
    if keyword in ("anyOf", "oneOf", "allOf", "prefixItems"):
        return node.children(keyword)
    if keyword == "properties":
        return {name: node.child("properties", name) for name in value}
    if keyword in ("items", "additionalProperties", "propertyNames"):
        return node.child(keyword)
    return value


def _both(keyword: str, left: Any, right: Any, pointer: str) -> Any:
    joined = _JOINED.get(keyword)
    if joined is None:
        refuse(keyword, f"{pointer}/{keyword}", "cannot be combined with another one")
    return joined(left, right)


def _common_types(left: Any, right: Any) -> list[str]:
    first = [left] if isinstance(left, str) else list(left)
    second = [right] if isinstance(right, str) else list(right)
    common = [name for name in first if name in second]
    for ours, theirs in ((first, second), (second, first)):
        if "integer" in ours and "number" in theirs and "integer" not in common:
            common.append("integer")
    return common or ["nothing"]


def intersection(left: Node, right: Node) -> Node:
    """A schema that holds when both do, merged when it is looked at."""
    return Node({"allOf": [left, right]}, left.pointer, f"({left.key} & {right.key})")


def _common_values(left: list[Any], right: list[Any]) -> list[Any]:
    return [value for value in left if any(same(value, other) for other in right)]


_JOINED: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    **dict.fromkeys(
        ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties", "uniqueItems"),
        max,
    ),
    **dict.fromkeys(("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"), min),
    **dict.fromkeys(("items", "propertyNames"), intersection),
    "required": lambda left, right: list(dict.fromkeys([*left, *right])),
    "enum": _common_values,
    "type": _common_types,
}


def _merge_properties(merged: dict[str, Any], left: Node, right: Node) -> None:
    sides = [
        (
            {name: n.child("properties", name) for name in n.keywords.get("properties", ())},
            n.child("additionalProperties") if "additionalProperties" in n.keywords else None,
        )
        for n in (left, right)
    ]
    (first, first_rest), (second, second_rest) = sides
    names = dict.fromkeys([*first, *second])
    if names:
        merged["properties"] = {
            name: _joint(first.get(name, first_rest), second.get(name, second_rest))
            for name in names
        }
    if first_rest is not None or second_rest is not None:
        merged["additionalProperties"] = _joint(first_rest, second_rest)


def _joint(left: Node | None, right: Node | None) -> Node:
    if left is None or right is None:
        return left or right or Node(True, "#")
    return intersection(left, right)


def same(left: Value, right: Value) -> bool:
    """Equality of JSON values: 1 equals 1.0, but not true."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(same(v, right[k]) for k, v in left.items())
    return bool(left == right)
