"""docs/configuration.md lists every setting, as the settings describe themselves.

Run this file as a program to write the list anew: `python -m tests.test_configuration_page`.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nearfar.settings import json_schema

PAGE = Path(__file__).parents[1] / "docs" / "configuration.md"
LIST = re.compile(r"(?<=<!-- settings -->\n).*(?=<!-- end of settings -->)", re.DOTALL)


def described() -> str:
    schema = json_schema()
    lines = ["", "| Setting | Default | Meaning |", "|---|---|---|"]
    lines += list(rows(schema, schema, ""))
    return "\n".join(lines) + "\n\n"


def rows(schema: dict[str, Any], section: dict[str, Any], above: str) -> Iterator[str]:
    for name, field in section["properties"].items():
        inner = target(schema, field)
        named = target(schema, field.get("additionalProperties") or {})
        if inner and above and inner is schema["$defs"].get("LocalOptions"):
            yield f"| `{above}{name}` | as in `local` | {field['description']} |"
        elif inner:
            yield from rows(schema, inner, f"{above}{name}.")
        elif named:
            yield from rows(schema, named, f"{above}{name}.NAME.")
        elif several := sections(schema, field):
            yield row(above, name, field)
            for one in several:
                yield from rows(schema, one, f"{above}{name}{'.NAME' * is_map(field)}.")
        else:
            yield row(above, name, field)


def row(above: str, name: str, field: dict[str, Any]) -> str:
    default = json.dumps(field["default"]) if field.get("default") is not None else "unset"
    return f"| `{above}{name}` | `{default}` | {field['description']} |"


def is_map(field: dict[str, Any]) -> bool:
    return "additionalProperties" in field


def sections(schema: dict[str, Any], field: dict[str, Any]) -> list[dict[str, Any]]:
    """The sections that a field may hold instead of a plain value."""
    choice = field.get("additionalProperties") or field
    options = choice.get("oneOf") or choice.get("anyOf") or []
    return [found for option in options if (found := target(schema, option))]


def target(schema: dict[str, Any], field: dict[str, Any]) -> dict[str, Any] | None:
    found: dict[str, Any] | None = schema["$defs"].get(
        str(field.get("$ref", "")).removeprefix("#/$defs/")
    )
    return found


def test_the_page_lists_what_the_settings_say() -> None:
    match = LIST.search(PAGE.read_text(encoding="utf-8"))
    assert match is not None
    assert match[0] == described(), "python -m tests.test_configuration_page writes it anew"


if __name__ == "__main__":
    PAGE.write_text(
        LIST.sub(lambda _: described(), PAGE.read_text(encoding="utf-8")), encoding="utf-8"
    )
