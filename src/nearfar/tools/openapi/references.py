"""Local references and schemas of an OpenAPI file."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from nearfar.errors import ApiDescriptionError

_MAX_NODES = 50_000  # of one schema with its references put in; real ones have some hundreds
# Words for people and code generators, not about which values are right.
_DROPPED = frozenset({"example", "examples", "xml", "discriminator", "externalDocs", "nullable"})


class References:
    """Follows ``$ref`` within one file."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document

    def follow(self, value: Any, pointer: str) -> dict[str, Any]:
        """The object itself, or the one it refers to; raises for anything else."""
        seen: set[str] = set()
        while isinstance(value, Mapping) and isinstance(value.get("$ref"), str):
            reference = value["$ref"]
            if reference in seen:
                raise broken(f"{reference} refers to itself", pointer)
            seen.add(reference)
            value = self._at(reference, pointer)
        if not isinstance(value, Mapping):
            raise broken("an object is missing", pointer)
        return dict(value)

    def schema(self, value: Any, pointer: str) -> dict[str, Any]:
        """A JSON schema that stands alone: references put in, OpenAPI's own words translated.

        Where a schema contains itself the inner one allows anything.
        """
        self._left = _MAX_NODES
        made = self._expand(value, pointer, ())
        return made if isinstance(made, dict) else {}

    def _expand(self, value: Any, pointer: str, within: tuple[str, ...]) -> Any:
        self._left -= 1
        if self._left < 0:
            raise broken("the schema is too large once its references are put in", pointer)
        if isinstance(value, list):
            return [self._expand(item, pointer, within) for item in value]
        if not isinstance(value, Mapping):
            return value
        reference = value.get("$ref")
        if isinstance(reference, str):
            if reference in within:
                return {}
            return self._expand(self._at(reference, pointer), pointer, (*within, reference))
        made: dict[str, Any] = {}
        for key, inner in value.items():
            if key == "properties" and isinstance(inner, Mapping):
                made[key] = self._properties(inner, pointer, within)
            elif key in {"enum", "const", "default", "required"}:
                made[key] = inner
            elif key not in _DROPPED and not str(key).startswith("x-"):
                made[key] = self._expand(inner, pointer, within)
        return _modern(made, nullable=value.get("nullable") is True)

    def _properties(
        self, properties: Mapping[str, Any], pointer: str, within: tuple[str, ...]
    ) -> dict[str, Any]:
        """Without what only answers have."""
        kept = {}
        for name, inner in properties.items():
            made = self._expand(inner, pointer, within)
            if not (isinstance(made, dict) and made.pop("readOnly", False)):
                kept[str(name)] = made
        return kept

    def _at(self, reference: str, pointer: str) -> Any:
        if not reference.startswith("#/"):
            raise broken(f"{reference} is not a reference within the file", pointer)
        found: Any = self._document
        for part in reference[2:].split("/"):
            key = unquote(part).replace("~1", "/").replace("~0", "~")
            if not isinstance(found, Mapping) or key not in found:
                raise broken(f"{reference} leads nowhere", pointer)
            found = found[key]
        return found


def broken(why: str, pointer: str) -> ApiDescriptionError:
    """The error for a place in the file."""
    return ApiDescriptionError(
        f"The API's description cannot be used: {why} (at {pointer or 'its top'}).",
        data={"pointer": pointer},
    )


def _modern(schema: dict[str, Any], *, nullable: bool) -> dict[str, Any]:
    """OpenAPI 3.0's own forms as JSON schema has them."""
    for exclusive, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if schema.get(exclusive) is True and bound in schema:
            schema[exclusive] = schema.pop(bound)
        elif isinstance(schema.get(exclusive), bool):
            del schema[exclusive]
    if nullable and isinstance(schema.get("type"), str):
        schema["type"] = [schema["type"], "null"]
        if "enum" in schema and None not in schema["enum"]:
            schema["enum"] = [*schema["enum"], None]
    known = schema.get("properties")
    if isinstance(known, dict) and isinstance(schema.get("required"), list):
        schema["required"] = [name for name in schema["required"] if name in known]
    return schema
