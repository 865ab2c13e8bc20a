"""From a JSON schema to Lark rules for compact, bounded JSON.

Everything that the rules accept fits the schema. The other way round holds within the limits, and
with properties in the schema's order. A part that no value can satisfy (a recursion at its last
level, contradicting bounds) is left out where it is optional; where it is needed, the schema is
refused.
"""

from collections.abc import Mapping
from typing import Any

from .containers import Member, array_body, object_body, repeated
from .lark import LarkWriter, alternatives, literal, regex, sequence
from .limits import Limits
from .numbers import ceiling, decimal_regex, floor, integer_regex
from .schema import Document, Node, check_keywords, merge, refuse, same, types_of
from .strings import key_terminal, string_terminal
from .unions import exclusive_branches
from .values import bounds, fits, string_literal, value_literal

_SCALARS = ("string", "number", "boolean", "null")
_MOST_REFERENCES = 64  # that follow one another before a value begins


class SchemaCompiler:
    """Writes the rules of one schema into a writer; several may share one writer."""

    def __init__(
        self,
        schema: Mapping[str, Any] | bool,
        writer: LarkWriter,
        limits: Limits,
        separators: tuple[str, str],
    ) -> None:
        self._document = Document(schema)
        self._writer = writer
        self._limits = limits
        self._comma, self._colon = literal(separators[0]), literal(separators[1])
        self._known: dict[tuple[str, int], str | None] = {}
        self._impossible: tuple[str, str, str] | None = None

    def compile(self) -> str:
        """The symbol of the whole schema; raises UnsupportedSchemaError."""
        try:
            symbol = self._node(self._document.root, self._limits.max_depth)
        except RecursionError:
            refuse("$ref", "#", "nests too deeply")
        if symbol is None:
            refuse(*(self._impossible or ("type", "#/type", "allows no value")))
        return symbol

    def _note(self, keyword: str, node: Node, why: str) -> None:
        """Say why a part is impossible; the first such note explains a refusal."""
        self._impossible = self._impossible or (keyword, f"{node.pointer}/{keyword}", why)

    def _node(self, node: Node, depth: int) -> str | None:
        """The symbol of a node, None if no value fits; ``depth`` levels of recursion are left."""
        key = (node.key, depth)
        if key not in self._known:
            self._known[key] = self._fresh(node, depth)
        return self._known[key]

    def _fresh(self, node: Node, depth: int) -> str | None:
        flat = self._flat(node, depth)
        if flat is None:
            return None
        node, depth = flat
        schema = node.keywords
        if node.schema is False:
            self._note("false", node, "allows no value")
            return None
        if "const" in schema or "enum" in schema:
            return self._values(node)
        for keyword in ("anyOf", "oneOf"):
            if keyword in schema:
                return self._union(node, keyword, depth)
        types = types_of(schema)
        if not types:
            return self._anything(self._limits.max_any_depth)
        found = [self._typed(name, node, depth) for name in types]
        possible = [symbol for symbol in found if symbol is not None]
        return alternatives(possible) if possible else None

    # Combinations.

    def _flat(self, node: Node, depth: int, hops: int = 0) -> tuple[Node, int] | None:
        """The same without $ref and allOf, and the levels left; None past the last level."""
        check_keywords(node)
        schema = node.keywords
        if "$ref" not in schema and "allOf" not in schema:
            return node, depth
        if hops > _MOST_REFERENCES:
            refuse("$ref", node.pointer, "leads to itself")
        parts = [node.without("$ref", "allOf")]
        if "$ref" in schema:
            ref = schema["$ref"]
            parts.append(self._document.resolve(ref, node.pointer))
            depth -= self._document.is_recursive(ref)
            if depth < 0:
                why = f"contains itself more than {self._limits.max_depth} times"
                self._note("$ref", node, why)
                return None
        if "allOf" in schema:
            parts += node.children("allOf")
        merged: Node | None = None
        for part in parts:
            if part.schema is not False and not part.asserts():
                continue
            flat = self._flat(part, depth, hops + 1)
            if flat is None:
                return None
            merged = flat[0] if merged is None else merge(merged, flat[0])
            depth = min(depth, flat[1])
        return merged or Node({}, node.pointer), depth

    def _union(self, node: Node, keyword: str, depth: int) -> str | None:
        branches = node.children(keyword)
        if keyword == "oneOf":
            branches = exclusive_branches(branches, node.pointer, self._document)
        rest = node.without(keyword)
        found = []
        for branch in branches:
            if not rest.asserts():
                symbol = self._node(branch, depth)
            else:
                flat = self._flat(branch, depth)
                symbol = None if flat is None else self._node(merge(rest, flat[0]), flat[1])
            if symbol is not None:
                found.append(symbol)
        if not found:
            self._note(keyword, node, "has no branch that a value can fit")
            return None
        return alternatives(found)

    def _values(self, node: Node) -> str | None:
        schema = node.keywords
        values = [schema["const"]] if "const" in schema else list(schema["enum"])
        if "const" in schema and "enum" in schema:
            values = [v for v in values if any(same(v, other) for other in schema["enum"])]
        values = [value for value in values if fits(value, node)]
        if not values:
            self._note("enum" if "enum" in schema else "const", node, "leaves no value")
            return None
        strings = [string_literal(v) for v in values if isinstance(v, str)]
        parts = [
            value_literal(v, self._comma, self._colon) for v in values if not isinstance(v, str)
        ]
        if strings:
            parts.append(self._writer.terminal(" | ".join(strings)))
        return alternatives(parts)

    # Types.

    def _typed(self, name: str, node: Node, depth: int) -> str | None:
        found: str | None
        match name:
            case "string":
                found = string_terminal(node, self._writer, self._limits)
            case "integer" | "number":
                found = self._number(node, whole=name == "integer")
            case "boolean":
                found = '("true" | "false")'
            case "null":
                found = '"null"'
            case "array":
                found = self._array(node, depth)
            case "object":
                found = self._object(node, depth)
            case _:
                found = None
        if found is None:
            self._note("type", node, f"asks for a value ({name}) that the rest does not allow")
        return found

    def _number(self, node: Node, *, whole: bool) -> str | None:
        digits, fraction = self._limits.max_digits, self._limits.max_fraction_digits
        low, high = bounds(node.keywords, 0 if whole else fraction)
        source: str | None
        if low is None and high is None:
            source = f"-?(?:0|[1-9][0-9]{{0,{digits - 1}}})"
            source += "" if whole else rf"(?:\.[0-9]{{1,{fraction}}})?"
        elif whole:
            least = None if low is None else ceiling(low)
            most = None if high is None else floor(high)
            source = integer_regex(least, most, digits)
        else:
            source = decimal_regex(low, high, digits, fraction)
        return None if source is None else self._writer.terminal(regex(source))

    def _array(self, node: Node, depth: int) -> str | None:
        schema, limits = node.keywords, self._limits
        low, high = schema.get("minItems", 0), schema.get("maxItems")
        if low > limits.max_explicit_items:
            why = f"asks for more than {limits.max_explicit_items} items"
            refuse("minItems", f"{node.pointer}/minItems", why)
        most = max(limits.max_array_items, low) if high is None else high
        most = min(most, limits.max_explicit_items)
        if schema.get("uniqueItems") and most > 1:
            refuse("uniqueItems", f"{node.pointer}/uniqueItems", "is not supported")
        items: list[str] = []
        complete = True
        for child in node.children("prefixItems") if "prefixItems" in schema else ():
            symbol = self._node(child, depth)
            if symbol is None:
                complete = False
                break
            items.append(symbol)
        rest = self._rest(node, depth, any_value=low > len(items) or not items)
        if rest is None or not complete:
            rest, most = None, min(most, len(items))
        if low > most:
            return None
        return self._writer.rule(array_body(items[:most], rest, low, most, self._comma))

    def _rest(self, node: Node, depth: int, *, any_value: bool) -> str | None:
        """The items after the first ones; none are made up where the schema does not name them."""
        items = node.keywords.get("items")
        if items is False:
            return None
        if items is not None:
            return self._node(node.child("items"), depth)
        return self._anything(self._limits.max_any_depth) if any_value else None

    def _object(self, node: Node, depth: int) -> str | None:
        schema = node.keywords
        required = set(schema.get("required", ()))
        names = list(dict.fromkeys([*schema.get("properties", ()), *schema.get("required", ())]))
        members: list[Member] = []
        for name in names:
            value = self._property(node, name, depth)
            if value is not None:
                body = sequence(string_literal(name), self._colon, value)
                members.append(Member(body, name in required))
            elif name in required:
                return None
        entry = self._entry(node, names, depth)
        low, high = self._counts(node, members)
        if high < len(required) or (low and not members and entry is None):
            return None
        most = min(self._limits.max_map_entries, high - len(members))
        return self._writer.rule(
            object_body(members, entry, most, self._writer, self._comma, may_be_empty=not low)
        )

    def _property(self, node: Node, name: str, depth: int) -> str | None:
        if name in node.keywords.get("properties", ()):
            return self._node(node.child("properties", name), depth)
        if "additionalProperties" in node.keywords:
            return self._node(node.child("additionalProperties"), depth)
        return self._anything(self._limits.max_any_depth)

    def _entry(self, node: Node, names: list[str], depth: int) -> str | None:
        """A key that no property declares and its value; only where the schema asks for them."""
        if "additionalProperties" not in node.keywords:
            return None
        value = self._node(node.child("additionalProperties"), depth)
        if value is None:
            return None
        return sequence(self._key(node, names, depth), self._colon, value)

    def _key(self, node: Node, names: list[str], depth: int) -> str:
        if "propertyNames" not in node.keywords:
            return key_terminal(names, self._writer, self._limits)
        where = f"{node.pointer}/propertyNames"
        if names:
            refuse("propertyNames", where, "beside properties is not supported")
        named = node.child("propertyNames")
        strings = Node({"type": "string"}, named.pointer, "string")
        flat = self._flat(named, depth)
        key = None if flat is None else self._node(merge(strings, flat[0]), flat[1])
        if key is None:
            refuse("propertyNames", where, "allows no name")
        return key

    def _counts(self, node: Node, members: list[Member]) -> tuple[int, int]:
        """How many members there must be (0 or 1) and may be; else the schema is refused."""
        schema = node.keywords
        low = schema.get("minProperties", 0)
        high = schema.get("maxProperties", len(members) + self._limits.max_map_entries)
        needed = sum(member.required for member in members)
        if low > max(needed, 1):  # a key may come twice, so more cannot be promised
            refuse("minProperties", f"{node.pointer}/minProperties", "is not supported")
        if needed <= high < len(members):
            refuse("maxProperties", f"{node.pointer}/maxProperties", "is not supported")
        return min(low, 1), high

    def _anything(self, depth: int) -> str:
        """Any JSON value, containers nested at most ``depth`` times."""
        parts = [self._typed(name, Node({}, ""), 0) or "" for name in _SCALARS]
        if depth > 0:
            item, few = self._anything(depth - 1), self._limits.max_map_entries
            entry = sequence(key_terminal([], self._writer, self._limits), self._colon, item)
            parts.append(sequence('"["', repeated(item, 0, few, self._comma), '"]"'))
            parts.append(sequence('"{"', repeated(entry, 0, few, self._comma), '"}"'))
        return self._writer.rule(" | ".join(parts))
