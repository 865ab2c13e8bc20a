"""Prompts by name: the user's own folder first, then those that come with Nearfar."""

import dataclasses
import difflib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from nearfar.errors import PromptFileError, PromptNotFoundError
from nearfar.settings import Settings, resolve

from . import language
from .template import NAME, Prompt, Variable, parse

BUILT_IN = Path(__file__).parent / "templates"

_REFERENCE = re.compile(r"^(?P<name>[^@]+)(?:@(?P<version>\d+))?$")


def library(settings: Settings | str | Path | None = None) -> "Library":
    """The library of these settings."""
    own = resolve(settings).prompts.folder
    return Library([(Path(own), "own")] if own else [])


class Library:
    """Files are read when they are asked for, so that an edit counts at once."""

    def __init__(self, folders: Sequence[tuple[Path, str]] = ()) -> None:
        self._folders = [*folders, (BUILT_IN, "built-in")]

    def names(self) -> list[str]:
        """All names, sorted, without versions."""
        return sorted({name for folder, _ in self._folders for name, _ in _files(folder)})

    def all(self) -> Iterator[Prompt]:
        """Every version of every prompt, the newest first; broken files are raised when reached."""
        for name in self.names():
            for reference in self.versions(name):
                yield self.get(f"{name}@{reference}")

    def versions(self, name: str) -> list[int]:
        """The versions that there are, the newest first."""
        found = {p.version for folder, origin in self._folders for p in _read(folder, origin, name)}
        return sorted(found, reverse=True)

    def get(self, reference: str) -> Prompt:
        """``name`` (the newest of the first folder that has it) or ``name@2``.

        Raises PromptNotFoundError and PromptFileError.
        """
        return self._whole(self._raw(reference))

    def read(self, file: Path) -> Prompt:
        """The prompt in any file; what it includes is looked for here. Raises PromptFileError."""
        return self._whole(parse(_text(file), file, "own"))

    def _whole(self, prompt: Prompt) -> Prompt:
        variables = self._variables(prompt, (prompt.name,))
        return dataclasses.replace(prompt, variables=variables, load=self._included)

    def _raw(self, reference: str) -> Prompt:
        match = _REFERENCE.match(reference)
        name = match["name"] if match else reference
        wanted = int(match["version"]) if match and match["version"] else None
        if not re.match(NAME, name):
            raise self._unknown(reference)
        for folder, origin in self._folders:
            found = [p for p in _read(folder, origin, name) if wanted in (None, p.version)]
            if found:
                return max(found, key=lambda prompt: prompt.version)
        raise self._unknown(reference)

    def _variables(self, prompt: Prompt, above: tuple[str, ...]) -> dict[str, Variable]:
        """Its own, and those of what it includes; checks that each that is used is declared."""
        known = dict(prompt.head.variables)
        used = []
        for part in prompt.parts:
            try:
                reading = language.read(part.text)
            except language.LanguageError as error:
                raise _broken(prompt, str(error), part.line + error.line - 1) from None
            used += [(use, part.line + use.line - 1) for use in reading.variables]
            for include in reading.includes:
                line = part.line + include.line - 1
                for name, variable in self._of_include(prompt, include.name, line, above).items():
                    known.setdefault(name, variable)
        for use, line in used:
            if use.name not in known:
                near = difflib.get_close_matches(use.name, known, n=1)
                hint = f" (did you mean {near[0]}?)" if near else ""
                raise _broken(prompt, f"the variable {use.name!r} is not declared{hint}", line)
        return known

    def _of_include(
        self, prompt: Prompt, name: str, line: int, above: tuple[str, ...]
    ) -> dict[str, Variable]:
        if name.partition("@")[0] in above:
            circle = " -> ".join([*above, name])
            raise _broken(prompt, f"the includes go in a circle: {circle}", line)
        try:
            included = self._raw(name)
        except PromptNotFoundError:
            raise _broken(prompt, f"there is no prompt {name!r} to include", line) from None
        if len(included.parts) != 1 or included.parts[0].speaker != "user":
            raise _broken(prompt, f"{name!r} has messages of its own; it cannot be included", line)
        return self._variables(included, (*above, included.name))

    def _included(self, name: str) -> str:
        return self._raw(name).parts[0].text.strip()

    def _unknown(self, reference: str) -> PromptNotFoundError:
        known = self.names()
        name = reference.partition("@")[0]
        near = difflib.get_close_matches(name, known, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        if name in known:
            hint = f" It has the versions {', '.join(map(str, self.versions(name)))}."
        return PromptNotFoundError(
            f"There is no prompt {reference!r}.{hint}", data={"name": reference, "known": known}
        )


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    for file in sorted(folder.rglob("*.md")) if folder.is_dir() else ():
        name = file.relative_to(folder).as_posix().removesuffix(".md").partition("@")[0]
        if re.match(NAME, name):
            yield name, file


def _read(folder: Path, origin: str, name: str) -> list[Prompt]:
    """All versions of that name in a folder: ``name.md`` and ``name@N.md``."""
    if not folder.is_dir():
        return []
    place = folder / f"{name}.md"
    files = [place, *sorted(place.parent.glob(f"{place.stem}@*.md"))]
    found: dict[int, Prompt] = {}
    for file in files:
        if not file.is_file():
            continue
        prompt = parse(_text(file), file, origin)
        if prompt.name != name:
            raise _broken(prompt, f"its name is {prompt.name!r}, but the file is called {name}", 2)
        if prompt.version in found:
            other = found[prompt.version].file
            raise _broken(prompt, f"{other} has the version {prompt.version} too", 2)
        found[prompt.version] = prompt
    return list(found.values())


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise PromptFileError(
            f"{file}: is not UTF-8 text.", data={"file": str(file), "line": None}
        ) from None
    except OSError as error:
        raise PromptFileError(
            f"{file}: cannot be read: {error.strerror or error}.",
            data={"file": str(file), "line": None},
        ) from None


def _broken(prompt: Prompt, what: str, line: int) -> PromptFileError:
    return PromptFileError(
        f"{prompt.file}, line {line}: {what}.", data={"file": str(prompt.file), "line": line}
    )
