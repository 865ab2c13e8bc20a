"""Turns what pydantic found wrong with the settings into one readable ConfigurationError."""

import difflib
import types
import typing
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from ._settings_source import KeyPath, Source, dotted
from .errors import ConfigurationError, UnknownKeyError

_KINDS: dict[type, str] = {
    bool: "true/false",
    int: "a whole number",
    float: "a number",
    list: "a list",
    dict: "keys with values",
    type(None): "nothing",
}
# What pydantic calls the problem, in words that need no Python. `{...}` are pydantic's own values,
# which are limits and allowed names, never the value that was found.
_WORDS = {
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "string_too_short": "must not be empty",
    "list_type": "must be a list",
    "dict_type": "must hold keys with values",
    "model_type": "must hold keys with values",
    "literal_error": "must be one of {expected}",
    "too_short": "must have at least {min_length} entry",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "string_pattern_mismatch": "must be written as package.module:name, ./file.py:name or ./crew.yaml",
    "finite_number": "must be a finite number",
    "value_error": "{error}",
    "missing": "must be given",
}
_OF_TYPE = {  # for these, what was found instead helps
    "int_parsing", "int_type", "int_from_float", "float_parsing", "float_type", "bool_parsing",
    "bool_type", "string_type", "list_type", "dict_type", "model_type",
}  # fmt: skip


def explain(error: ValidationError, source: Source, root: type[BaseModel]) -> ConfigurationError:
    """One error for all problems: an UnknownKeyError where the first is a key no setting has.

    Values are not repeated: a misplaced value may be a secret.
    """
    problems = sorted(
        error.errors(include_url=False, include_context=True, include_input=True),
        key=lambda problem: _line(problem, source),
    )
    told = [_tell(problem, source, root) for problem in problems]
    first = problems[0]
    message = told[0] if len(told) == 1 else "\n".join(["Several settings are wrong:", *told])
    path = _path(first)
    place = source.place(path)
    data: dict[str, Any] = {
        "key": dotted(path),
        "file": str(place.file) if place and place.file else None,
        "line": place.line if place and place.file else None,
        "variable": place.variable if place else None,
        "problems": told,
    }
    if first["type"] == "extra_forbidden":
        data["nearest"] = nearest(str(path[-1]), _known(root, path[:-1]))
        return UnknownKeyError(message, data=data)
    return ConfigurationError(message, data=data)


def nearest(name: str, known: list[str]) -> str | None:
    """The known name that ``name`` was most likely meant to be."""
    found = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    return found[0] if found else None


def _line(problem: ErrorDetails, source: Source) -> int:
    place = source.place(_path(problem))
    return place.line if place else 0


def _path(problem: ErrorDetails) -> KeyPath:
    """Without pydantic's marks of keys, and ours of forms, which are no part of the name."""
    return tuple(part for part in problem["loc"] if not str(part).startswith("["))


def _tell(problem: ErrorDetails, source: Source, root: type[BaseModel]) -> str:
    path = _path(problem)
    place = source.place(path)
    where = f"{place}: " if place else ""
    if problem["type"] == "extra_forbidden":
        known = _known(root, path[:-1])
        close = nearest(str(path[-1]), known)
        above = dotted(path[:-1])
        hint = f"Did you mean '{close}'?" if close else f"Known here: {', '.join(known)}."
        inside = f" in {above}" if above else ""
        return f"{where}there is no setting '{path[-1]}'{inside}. {hint}"
    words = _WORDS.get(problem["type"], "is not valid").format(**problem.get("ctx", {}))
    found = ""
    if problem["type"] in _OF_TYPE:
        found = f", but is {_KINDS.get(type(problem['input']), 'text')}"
    return f"{where}{dotted(path)} {words}{found}."


def _known(root: type[BaseModel], path: KeyPath) -> list[str]:
    """The keys that the section at ``path`` may hold."""
    section: Any = root
    for part in path:
        if isinstance(section, type) and issubclass(section, BaseModel):
            found = section.model_fields.get(str(part))
            section = found.annotation if found else None
        elif get_origin(section) is dict:
            section = get_args(section)[1]
        elif get_origin(section) is list:
            section = get_args(section)[0]
        section = _section(section)
    fields = getattr(section, "model_fields", {})
    return sorted(fields)


def _section(annotation: Any) -> Any:
    """The section type inside ``Annotated[...]`` or ``... | None``."""
    if get_origin(annotation) is typing.Annotated:
        return _section(get_args(annotation)[0])
    if get_origin(annotation) in (typing.Union, types.UnionType):
        inner = [_section(arg) for arg in get_args(annotation) if arg is not type(None)]
        return next((arg for arg in inner if hasattr(arg, "model_fields")), inner[0])
    return annotation
