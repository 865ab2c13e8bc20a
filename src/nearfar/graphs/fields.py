"""The fields of a row: read from a schema, asked for, and found in a text."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage

from nearfar.errors import UsageError

from .loading import load, parse_place
from .plain import strict_json
from .sentences import content_words

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NUMBER = re.compile(r"([-+]?)((?:\d{1,3}(?:[\s'\u2019]\d{3})+(?!\d)|\d+)(?:[.,]\d+)*)")
_FORMS = (  # of its digits; the whole part, and what comes after the decimal point
    r"(\d+)()",
    r"([1-9]\d{0,2}(?:,\d{3})+)()",  # 1,234 but 1.234 has a decimal point
    r"([1-9]\d{0,2}(?:\.\d{3}){2,})()",
    r"(\d+|\d{1,3}(?:,\d{3})+)\.(\d+)",
    r"(\d+|\d{1,3}(?:\.\d{3})+),(\d+)",
)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_TYPES = {"text": "string", "int": "integer", "float": "number", "bool": "boolean"}
_CHARACTERS_PER_TOKEN = 3
_RESERVED = 800  # tokens for instructions and reply

Value = str | int | float | bool | list[Any] | dict[str, Any] | None


@dataclass(frozen=True)
class Fields:
    """A JSON schema of type object."""

    schema: dict[str, Any]

    @classmethod
    def read(cls, given: Any) -> "Fields":
        """From a JSON schema, a file with one, ``MODULE:CLASS`` or ``FILE.py:CLASS`` of pydantic.

        A file (YAML or JSON) may also hold plain fields: ``total: number``. Raises UsageError.
        """
        if isinstance(given, str) and not given.lower().endswith((".yaml", ".yml", ".json")):
            place = parse_place(given)
            found = load(place) if place else None
            if not _is_pydantic(found):
                raise _unusable(given, "it is neither a YAML or JSON file nor a pydantic class")
            given = found
        if _is_pydantic(given):
            return cls(given.model_json_schema())
        tree = _file(given) if isinstance(given, str) else given
        if not isinstance(tree, dict) or not tree:
            raise _unusable(str(given), "it holds no fields")
        if isinstance(tree.get("properties"), dict):
            return cls(_checked({"type": "object", **tree}, str(given)))
        properties = {name: _field(name, kind) for name, kind in tree.items()}
        plain = {"type": "object", "properties": properties, "required": list(properties)}
        return cls(_checked(plain, str(given)))

    @property
    def names(self) -> list[str]:
        """The fields, in their order."""
        return list(self.schema["properties"])

    def parsed(self, text: str) -> Any:
        """The object in a model's reply; the reply as it is where it holds none."""
        start, end = text.find("{"), text.rfind("}")
        try:
            return strict_json(text[start : end + 1])
        except ValueError:
            return text


def _is_pydantic(given: Any) -> bool:
    return isinstance(given, type) and hasattr(given, "model_json_schema")


def _checked(schema: dict[str, Any], what: str) -> dict[str, Any]:
    """The JSON schema of an object with fields, or UsageError: before thousands of rows fail it."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise _unusable(what, f"{error.json_path}: {error.message}"[:300]) from None
    if schema["type"] != "object" or not schema["properties"]:
        raise _unusable(what, "it is not of an object with fields")
    for name, field in schema["properties"].items():
        if not isinstance(field, dict):
            raise _unusable(what, f"{name} says nothing of its type")
    return schema


def _file(name: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(Path(name).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise _unusable(name, error.strerror or type(error).__name__) from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise _unusable(name, str(error).split("\n")[0]) from None


def _field(name: str, kind: Any) -> dict[str, Any]:
    if isinstance(kind, dict):
        return kind
    if not _NAME.fullmatch(str(name)):
        raise _unusable(str(name), "it is no name for a field")
    wanted = _TYPES.get(str(kind), str(kind))
    if wanted == "date":
        return {"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}$"}
    if wanted not in ("string", "integer", "number", "boolean"):
        raise _unusable(str(name), f"{kind!r} is none of string, integer, number, boolean, date")
    return {"type": wanted}


def _unusable(what: str, why: str) -> UsageError:
    return UsageError(
        f"The schema {what} cannot be used: {why}.",
        remedy="Write fields as `total: number`, a JSON schema, or MODULE:CLASS of pydantic.",
    )


def asked_for(fields: Fields, text: str, window: int | None) -> list[BaseMessage]:
    """The question for a model that writes; of a text that is too long its beginning."""
    if window is not None:
        text = text[: max(200, (window - _RESERVED) * _CHARACTERS_PER_TOKEN)]
    schema = json.dumps(fields.schema, ensure_ascii=False)
    told = "Take from the text what the JSON schema asks for. Answer with one JSON object alone."
    return [SystemMessage(f"{told}\n{schema}"), HumanMessage(text)]


def found_in(text: str, sentences: list[str], fields: Fields) -> dict[str, Any]:
    """What the text says of each field, in so many words: ``Total: 12.50``, or a sentence with its name.

    A field that is not found is left out, so that the check of the row fails where it is required.
    """
    row: dict[str, Any] = {}
    for name, schema in fields.schema["properties"].items():
        value = _value(_labelled(text, name, schema), schema)
        if value is None:
            value = _value(_told(sentences, name, schema), schema, whole=False)
        if value is not None:
            row[name] = value
    return row


def _labels(name: str, schema: dict[str, Any]) -> list[str]:
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).replace("_", " ")
    return [label for label in (words, schema.get("title"), schema.get("description")) if label]


def _labelled(text: str, name: str, schema: dict[str, Any]) -> str | None:
    for label in _labels(name, schema):
        spaced = r"[\s_-]+".join(map(re.escape, label.split()))
        found = re.search(
            rf"^[\s|>*#-]*\**{spaced}\**\s*(?:[:=|]|\t)\s*\**\s*(.+?)[\s|*]*$",
            text,
            re.IGNORECASE | re.MULTILINE,
        )
        if found:
            return found[1].strip()
    return None


def _told(sentences: list[str], name: str, schema: dict[str, Any]) -> str | None:
    wanted = {word for label in _labels(name, schema) for word in content_words(label)}
    scored = [(len(wanted & set(content_words(one))), -n) for n, one in enumerate(sentences)]
    best = max(scored, default=(0, 0))
    return sentences[-best[1]] if best[0] else None


def _value(text: str | None, schema: dict[str, Any], *, whole: bool = True) -> Value:
    """What stands in the text, as the type that is asked for; a plain text only where all of it is meant."""
    if text is None:
        return None
    kinds = [option.get("type") for option in schema.get("anyOf") or [schema]]
    if "enum" in schema:
        return next((o for o in schema["enum"] if str(o).lower() in text.lower()), None)
    if "number" in kinds or "integer" in kinds:
        return _number(text, exact="number" not in kinds)
    if "boolean" in kinds:
        word = re.search(r"\b(yes|true|no|false|not)\b", text.lower())
        return None if word is None else word[1] in ("yes", "true")
    if "array" in kinds and whole:
        return [part.strip() for part in re.split(r"[,;]", text) if part.strip()]
    return _text(text, schema, whole=whole and "string" in kinds)


def _text(text: str, schema: dict[str, Any], *, whole: bool) -> str | None:
    pattern = schema.get("pattern")
    if pattern or schema.get("format") == "date":
        found = re.search(str(pattern).strip("^$"), text) if pattern else _DATE.search(text)
        return found[0] if found else None
    return text if whole else None


def _number(text: str, *, exact: bool) -> int | float | None:
    """The first number; ``exact``: as an integer. None where there is none, or nobody can tell."""
    found = _NUMBER.search(text)
    if found is None:
        return None
    digits = re.sub(r"[\s'\u2019]", "", found[2])
    forms = (re.fullmatch(form, digits) for form in _FORMS)
    form = next(filter(None, forms), None)
    if form is None or (exact and form[2].strip("0")):
        return None
    whole = f"{found[1]}{re.sub('[.,]', '', form[1])}"
    return int(whole) if exact else float(f"{whole}.{form[2] or 0}")
