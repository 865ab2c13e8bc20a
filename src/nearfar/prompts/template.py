"""One prompt: its front matter, its parts, and what comes of it with values."""

import difflib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from nearfar._settings_problems import explain
from nearfar._settings_section import Section
from nearfar._settings_source import read_document
from nearfar.errors import ConfigurationError, PromptFileError, PromptVariableError

from . import language

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

Speaker = Literal["system", "user", "assistant"]
Type = Literal["string", "integer", "number", "boolean", "list", "object"]

NAME = r"^[a-z0-9][a-z0-9_-]*(/[a-z0-9][a-z0-9_-]*)*$"
_PYTHON: dict[str, tuple[type, ...]] = {
    "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,),
    "list": (list, tuple), "object": (dict,),
}  # fmt: skip
_SPEAKER = re.compile(r"^\[\[(system|user|assistant)\]\][ \t]*\n?", re.MULTILINE)


class Variable(Section):
    """What stands for a name in a template."""

    type: Type = "string"
    """`string`, `integer`, `number`, `boolean`, `list` or `object`."""
    description: str = ""
    """What it is, for who fills it in."""
    required: bool | None = None
    """Whether a value must be given; unset: yes, if there is no default."""
    default: Any = None
    """The value where none is given."""
    enum: list[Any] = Field(default=[])
    """The only values it may have."""
    untrusted: bool = False
    """It comes from outside, and is put between marks that say that it is data."""

    @property
    def needed(self) -> bool:
        """Whether rendering without a value fails."""
        return self.default is None if self.required is None else self.required

    @model_validator(mode="after")
    def _values_fit(self) -> Self:
        for value in [*self.enum, *([self.default] if self.default is not None else [])]:
            if not fits(value, self.type):
                raise ValueError(f"{value!r} is no {self.type}")
        if self.enum and self.default is not None and self.default not in self.enum:
            raise ValueError("the default is none of enum")
        return self


class Head(Section):
    """The front matter."""

    name: Annotated[str, Field(pattern=NAME)]
    """As it is asked for; the file's path in its folder, without `.md` and `@N`."""
    description: str = ""
    """What the prompt is for, in a line."""
    version: Annotated[int, Field(ge=1)] = 1
    """Counts from 1; `name@2` asks for one, `name` for the highest."""
    output: str = ""
    """In what form the model answers, where the text itself does not say it."""
    variables: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")], Variable] = Field(
        default={}
    )
    """The names that the template uses."""


@dataclass(frozen=True)
class Part:
    """The text of one message; ``line`` is where it begins in the file."""

    speaker: Speaker
    text: str
    line: int


@dataclass(frozen=True)
class Prompt:
    """A template that has been read. ``variables`` are also those of what it includes."""

    head: Head
    parts: tuple[Part, ...]
    file: Path | None
    origin: str  # "built-in", "own" or "text"
    variables: Mapping[str, Variable] = field(default_factory=dict)
    load: Callable[[str], str | None] | None = field(default=None, repr=False, compare=False)

    @property
    def name(self) -> str:
        """Without the version."""
        return self.head.name

    @property
    def version(self) -> int:
        """Counts from 1."""
        return self.head.version

    def messages(self, values: Mapping[str, Any] | None = None, /, **more: Any) -> list[Any]:
        """The messages for a chat model. Raises PromptVariableError."""
        from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

        kinds: dict[str, type[BaseMessage]] = {
            "system": SystemMessage,
            "user": HumanMessage,
            "assistant": AIMessage,
        }
        said = self._said({**(values or {}), **more})
        return [kinds[speaker](text) for speaker, text in said if text]

    def render(self, values: Mapping[str, Any] | None = None, /, **more: Any) -> str:
        """The texts of all messages, an empty line between them. Raises PromptVariableError."""
        said = self._said({**(values or {}), **more})
        return "\n\n".join(text for _, text in said if text)

    def _said(self, values: dict[str, Any]) -> list[tuple[Speaker, str]]:
        filled = self._filled(values)
        env = language.environment(self.load)
        said = []
        for part in self.parts:
            try:
                said.append((part.speaker, language.render(env, part.text, filled).strip()))
            except language.LanguageError as error:
                raise self._broken(str(error), part.line + error.line - 1) from None
        return said

    def _filled(self, values: dict[str, Any]) -> dict[str, Any]:
        unknown = [name for name in values if name not in self.variables]
        if unknown:
            near = difflib.get_close_matches(unknown[0], self.variables, n=1)
            raise self._wrong(
                unknown,
                f"has no variable {unknown[0]!r}",
                f"Did you mean {near[0]}?" if near else None,
            )
        missing = [n for n, v in self.variables.items() if v.needed and values.get(n) is None]
        if missing:
            raise self._wrong(missing, f"needs {', '.join(missing)}")
        filled = {}
        for name, variable in self.variables.items():
            given = values.get(name)
            value = variable.default if given is None else given
            if value is not None and not fits(value, variable.type):
                raise self._wrong([name], f"takes a {variable.type} for {name}")
            if variable.enum and value is not None and value not in variable.enum:
                known = ", ".join(map(str, variable.enum))
                raise self._wrong([name], f"takes one of {known} for {name}")
            filled[name] = _as_data(name, value) if variable.untrusted else value
        return filled

    def _wrong(self, names: list[str], what: str, remedy: str | None = None) -> PromptVariableError:
        return PromptVariableError(
            f"The prompt {self.name} {what}.",
            remedy=remedy,
            data={"name": self.name, "variables": names},
        )

    def _broken(self, what: str, line: int) -> PromptFileError:
        where = f"{self.file}, line {line}" if self.file else f"The text {self.name}, line {line}"
        return PromptFileError(
            f"{where}: {what}.",
            data={"file": str(self.file) if self.file else None, "line": line},
        )


def fits(value: Any, kind: Type) -> bool:
    """Whether the value is of that type; true is no number."""
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _PYTHON[kind])


def _as_data(name: str, value: Any) -> Any:
    from nearfar.tools import mark_as_data

    if value is None or value in ("", [], {}):
        return value
    if isinstance(value, list | tuple):
        return [_as_data(name, item) for item in value]
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return mark_as_data(text, name)


def parse(text: str, file: Path, origin: str) -> Prompt:
    """The prompt in a file's text; its variables are not yet those of its includes.

    Raises PromptFileError with the line.
    """
    front, body, line = _split(text, file)
    try:
        source = read_document(file, front)
        try:
            head = Head.model_validate(source.tree)
        except ValidationError as error:
            raise explain(error, source, Head) from None
    except ConfigurationError as error:
        raise PromptFileError(error.message, remedy=error.remedy or None, data=error.data) from None
    return Prompt(head, _parts(body, line), file, origin, dict(head.variables))


def from_text(
    text: str, name: str = "text", variables: Mapping[str, Variable] | None = None
) -> Prompt:
    """A prompt of one message that stands in no file; it includes nothing."""
    known = dict(variables or {})
    prompt = Prompt(Head(name=name, variables=known), _parts(text, 1), None, "text", known)
    for part in prompt.parts:
        try:
            used = language.read(part.text)
        except language.LanguageError as error:
            raise prompt._broken(str(error), error.line) from None  # noqa: SLF001 - its own maker
        unknown = [use for use in used.variables if use.name not in known]
        if unknown or used.includes:
            first = (unknown or list(used.includes))[0]
            what = f"there is no variable {first.name!r}" if unknown else "it can include nothing"
            raise prompt._broken(what, first.line)  # noqa: SLF001 - as above
    return prompt


def _split(text: str, file: Path) -> tuple[str, str, int]:
    """Front matter (with an empty line for its fence, so that lines count right), body, its line."""
    lines = text.replace("\r\n", "\n").split("\n")
    fences = [n for n, line in enumerate(lines) if line.rstrip() == "---"][:2]
    if len(fences) < 2 or fences[0] != 0:
        raise PromptFileError(
            f"{file}, line 1: the file must begin with front matter between two lines of '---'.",
            data={"file": str(file), "line": 1},
        )
    end = fences[1]
    return "\n".join(["", *lines[1:end]]), "\n".join(lines[end + 1 :]), end + 2


def _parts(body: str, line: int) -> tuple[Part, ...]:
    """Cut at the lines ``[[system]]``, ``[[user]]``, ``[[assistant]]``; without any, one of the user."""
    marks = list(_SPEAKER.finditer(body))
    if not marks:
        return (Part("user", body, line),)
    parts = []
    for place, mark in enumerate(marks):
        end = marks[place + 1].start() if place + 1 < len(marks) else len(body)
        speaker: Any = mark.group(1)
        at = line + body.count("\n", 0, mark.end())
        parts.append(Part(speaker, body[mark.end() : end], at))
    return tuple(parts)
