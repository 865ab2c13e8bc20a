"""``oneOf``: exactly one branch may fit, so the branches must be seen to exclude each other."""

from collections.abc import Mapping
from itertools import combinations
from typing import Any

from .schema import TYPES, Document, Node, intersection, refuse, same, types_of


def exclusive_branches(branches: list[Node], pointer: str, document: Document) -> list[Node]:
    """The branches, with the property that tells them apart made required where there is one."""
    tags: dict[int, set[str]] = {}
    seen = [_resolved(branch, document) for branch in branches]
    for (i, left), (j, right) in combinations(enumerate(seen), 2):
        tag = _tag(left, right, document)
        if tag is not None:
            tags.setdefault(i, set()).add(tag)
            tags.setdefault(j, set()).add(tag)
        elif not _exclude(left, right):
            refuse("oneOf", f"{pointer}/oneOf", f"has branches {i} and {j} that may both fit")
    return [
        intersection(branch, Node({"type": "object", "required": sorted(tags[i])}, f"tag{i}"))
        if i in tags
        else branch
        for i, branch in enumerate(branches)
    ]


def _resolved(node: Node, document: Document) -> Node:
    for _ in range(32):
        if set(node.keywords) & {"$ref"} == set() or not isinstance(node.keywords["$ref"], str):
            return node
        node = document.resolve(node.keywords["$ref"], node.pointer)
    return refuse("$ref", f"{node.pointer}/$ref", "leads to itself")


def _listed(node: Node) -> list[Any] | None:
    """The values that a schema lists, if it does."""
    schema = node.keywords
    if "const" in schema:
        return [schema["const"]]
    return list(schema["enum"]) if isinstance(schema.get("enum"), list | tuple) else None


def _types(node: Node) -> set[str]:
    listed = _listed(node)
    if listed is not None:
        return {_type_of(value) for value in listed}
    types = set(types_of(node.keywords, declared_only=True)) or set(TYPES)
    return types | {"integer"} if "number" in types else types


def _type_of(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if value is None:
        return "null"
    if isinstance(value, str):
        return "string"
    if isinstance(value, int | float):
        return "integer" if float(value).is_integer() else "number"
    return "object" if isinstance(value, Mapping) else "array"


def _differ(left: Node, right: Node) -> bool:
    """Whether two listed sets of values have nothing in common."""
    ours, theirs = _listed(left), _listed(right)
    if ours is None or theirs is None:
        return False
    return not any(same(a, b) for a in ours for b in theirs)


def _exclude(left: Node, right: Node) -> bool:
    if not _types(left) & _types(right) or _differ(left, right):
        return True
    return any(
        a.keywords.get("additionalProperties") is False
        and set(b.keywords.get("required", ())) - set(a.keywords.get("properties", ()))
        for a, b in ((left, right), (right, left))
    )


def _tag(left: Node, right: Node, document: Document) -> str | None:
    """A property whose listed values differ between two object schemas."""
    theirs = right.keywords.get("properties", {})
    for name in left.keywords.get("properties", {}):
        if name in theirs and _differ(
            _resolved(left.child("properties", name), document),
            _resolved(right.child("properties", name), document),
        ):
            return str(name)
    return None
