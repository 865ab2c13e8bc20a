"""Crews from YAML files, with errors that name the line."""

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from nearfar._settings_problems import explain
from nearfar._settings_source import Source, dotted, read_document
from nearfar.errors import ConfigurationError, CrewDefinitionError, PromptFileError
from nearfar.prompts.template import from_text

from .definition import Crew


def load_crew(file: str | Path) -> Crew:
    """The crew in a YAML file. Raises CrewDefinitionError with file and line.

    Nothing of the environment goes into it: a crew may come from someone else.
    """
    path = Path(file).expanduser().absolute()
    try:
        source = read_document(path)
        try:
            crew = Crew.model_validate({"name": _name(path), **source.tree})
        except ValidationError as error:
            raise explain(error, source, Crew) from None
    except ConfigurationError as error:
        message = error.message.replace("Several settings are", "Several things are")
        message = message.replace("there is no setting", "there is no key")
        usual = error.remedy == ConfigurationError.default_remedy  # speaks of nearfar.yaml
        remedy = None if usual else error.remedy
        raise CrewDefinitionError(message, remedy=remedy, data=error.data) from None
    check(crew, source)
    return crew


def crew_schema() -> dict[str, Any]:
    """The JSON schema of a crew's file."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Crew.model_json_schema(by_alias=True),
        "title": "crew.yaml",
    }


def check(crew: Crew, source: Source | None = None) -> None:
    """Raise CrewDefinitionError for what does not go together."""
    problems = list(crew.problems())
    for name, task in crew.tasks.items():
        try:
            from_text(task.description, f"task-{name.lower()}", crew.inputs)
        except PromptFileError as error:
            why = error.message.partition(": ")[2].rstrip(".")
            problems.append((("tasks", name, "description"), why))
    if not problems:
        return
    told = []
    for path, what in problems:
        place = source.place(path) if source else None
        told.append(f"{f'{place}: ' if place else ''}{dotted(path)}: {what}.")
    first = source.place(problems[0][0]) if source else None
    raise CrewDefinitionError(
        told[0] if len(told) == 1 else "\n".join(["Several things are wrong:", *told]),
        data={
            "key": dotted(problems[0][0]),
            "file": str(first.file) if first and first.file else None,
            "line": first.line if first else None,
            "problems": told,
        },
    )


def _name(path: Path) -> str:
    name = "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "_" for c in path.stem)
    return name if name[:1].isalpha() else f"crew_{name}"
