"""Fixed values (``const``, ``enum``) and the bounds of numbers."""

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from .lark import literal, sequence
from .numbers import nudge
from .schema import ASSERTIONS, Node, refuse, types_of

_JUDGED: Final = frozenset(
    {"type", "enum", "const", "minLength", "maxLength", "pattern"}
    | {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}
)
_KINDS: Final[Mapping[str, type | tuple[type, ...]]] = {
    "boolean": bool,
    "number": (int, float),
    "string": str,
    "null": type(None),
    "array": (list, tuple),
    "object": Mapping,
}


def string_literal(text: str) -> str:
    """The lexeme of a JSON string."""
    return literal(json.dumps(text, ensure_ascii=False))


def value_literal(value: Any, comma: str, colon: str) -> str:
    """One fixed value, in the lexemes that JSON has."""
    if isinstance(value, Mapping):
        pairs = [
            sequence(string_literal(str(k)), colon, value_literal(v, comma, colon))
            for k, v in value.items()
        ]
        return sequence('"{"', f" {comma} ".join(pairs), '"}"')
    if isinstance(value, list | tuple):
        inner = f" {comma} ".join(value_literal(item, comma, colon) for item in value)
        return sequence('"["', inner, '"]"')
    return literal(json.dumps(value, ensure_ascii=False))


def bounds(schema: Mapping[str, Any], fraction: int) -> tuple[Decimal | None, Decimal | None]:
    """The inclusive bounds of a number schema; values have at most ``fraction`` decimals."""
    low = [Decimal(str(schema["minimum"]))] if "minimum" in schema else []
    high = [Decimal(str(schema["maximum"]))] if "maximum" in schema else []
    if "exclusiveMinimum" in schema:
        low.append(nudge(Decimal(str(schema["exclusiveMinimum"])), fraction, up=True))
    if "exclusiveMaximum" in schema:
        high.append(nudge(Decimal(str(schema["exclusiveMaximum"])), fraction, up=False))
    return max(low, default=None), min(high, default=None)


def fits(value: Any, node: Node) -> bool:
    """Whether a listed value also fits the keywords beside the list."""
    schema = node.keywords
    others = (schema.keys() & ASSERTIONS) - _JUDGED
    speaking = set(types_of({k: schema[k] for k in others}))
    if "anyOf" in others or "oneOf" in others or any(is_a(value, kind) for kind in speaking):
        keyword = min(others)
        refuse(keyword, f"{node.pointer}/{keyword}", "cannot be combined with enum or const")
    types = types_of(schema, declared_only=True)
    if types and not any(is_a(value, name) for name in types):
        return False
    if isinstance(value, str):
        low, high = schema.get("minLength", 0), schema.get("maxLength", len(value))
        pattern = schema.get("pattern")
        return low <= len(value) <= high and (not pattern or bool(re.search(pattern, value)))
    if is_a(value, "number"):
        least, most = schema.get("minimum", value), schema.get("maximum", value)
        above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
        inside = (above is None or value > above) and (below is None or value < below)
        return bool(least <= value <= most and inside)
    return True


def is_a(value: Any, name: str) -> bool:
    """Whether a value has the JSON type of this name; 1.0 is an integer."""
    if name == "integer":
        return is_a(value, "number") and float(value).is_integer()
    if name == "number" and isinstance(value, bool):
        return False
    return isinstance(value, _KINDS.get(name, ()))
