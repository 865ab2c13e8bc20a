"""Where settings come from: a YAML file and the environment, as one tree that knows its places.

``read`` returns plain dicts, lists and scalars; for every key it remembers the file's line or the
environment variable it came from, so that an error and ``nearfar config show`` can name the place.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from .errors import ConfigurationError, MissingVariableError

KeyPath = tuple[str | int, ...]

ENV_PREFIX = "NEARFAR__"
MAX_NODES = 100_000  # aliases can multiply a small file without end
_PLAIN_TAGS = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")
_VARIABLE = re.compile(r"\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::([^}]*))?\}")


class EnvironmentText(str):
    """A value from an environment variable: a relative path in it is relative to the working directory."""

    __slots__ = ()


@dataclass(frozen=True)
class Place:
    """Where a key was set: ``line`` counts from 1; ``variables`` filled ``${...}`` in its value."""

    file: Path | None = None
    line: int = 0
    variable: str | None = None
    variables: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.variable:
            return f"environment variable {self.variable}"
        return f"{self.file}, line {self.line}"


@dataclass
class Source:
    """The merged tree; ``file`` is None when only the environment and the defaults speak."""

    file: Path | None = None
    tree: dict[str, Any] = field(default_factory=dict)
    places: dict[KeyPath, Place] = field(default_factory=dict)

    def place(self, path: KeyPath) -> Place | None:
        """The place of the key, or of the nearest key above it that was set somewhere."""
        for end in range(len(path), 0, -1):
            if path[:end] in self.places:
                return self.places[path[:end]]
        return Place(file=self.file, line=1) if self.file else None


def dotted(path: KeyPath) -> str:
    """``("models", "a", 0)`` as ``models.a[0]``."""
    out = ""
    for part in path:
        out += f"[{part}]" if isinstance(part, int) else f".{part}"
    return out.removeprefix(".")


def read(file: Path | None, environ: Mapping[str, str]) -> Source:
    """The file (None: no file), then the environment's ``NEARFAR__A__B`` over it.

    Raises ConfigurationError, or MissingVariableError for a ``${NAME}`` that has no value.
    """
    source = Source(file=file)
    if file is not None:
        _FileReader(file, environ, source).read()
    _overlay(source, environ)
    return source


def read_document(file: Path, text: str | None = None) -> Source:
    """A YAML file that is not nearfar.yaml: nothing of the environment goes into it.

    ``text`` is read in its place, as if it were its content. Raises ConfigurationError.
    """
    source = Source(file=file)
    _FileReader(file, None, source).read(text)
    return source


class _FileReader:
    """Walks the YAML nodes itself: PyYAML's own constructor forgets lines and duplicate keys."""

    def __init__(self, file: Path, environ: Mapping[str, str] | None, source: Source) -> None:
        self._file = file
        self._environ = environ  # None: `${NAME}` is text like any other
        self._source = source
        self._open: set[int] = set()  # nodes above the current one: an alias to one never ends
        self._seen = 0

    def read(self, text: str | None = None) -> None:
        loader = yaml.SafeLoader(_read_text(self._file) if text is None else text)
        self._loader = loader
        try:
            node = loader.get_single_node()
            tree = {} if node is None else self._convert(node, ())
        except yaml.YAMLError as error:
            raise self._broken(error) from None
        except RecursionError:
            raise ConfigurationError(f"{self._file}: is nested too deeply.") from None
        finally:
            loader.dispose()
        if tree is None:
            tree = {}
        if not isinstance(tree, dict):
            raise ConfigurationError(
                f"{self._file}: must hold keys with values (`models:`, `local:`, ...), "
                f"but it holds {_kind(tree)}.",
                data={"file": str(self._file)},
            )
        self._source.tree = tree

    def _broken(self, error: yaml.YAMLError) -> ConfigurationError:
        mark = getattr(error, "problem_mark", None)
        # The problem text of PyYAML names tokens and tags, and quotes no values.
        problem = getattr(error, "problem", None) or "cannot be read"
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        return ConfigurationError(
            f"{self._file}{where}: this is not valid YAML: {problem}.",
            remedy="Mend the YAML at that place (indentation, colons, quotes, brackets).",
            data={
                "file": str(self._file),
                "line": mark.line + 1 if mark else None,
                "column": mark.column + 1 if mark else None,
            },
        )

    def _convert(self, node: yaml.Node, path: KeyPath) -> Any:
        self._seen += 1
        if id(node) in self._open or self._seen > MAX_NODES:
            raise self._error(node, path, "aliases make this value endless")
        self._open.add(id(node))
        try:
            if not isinstance(node, yaml.ScalarNode) and node.tag not in _PLAIN_TAGS:
                raise self._error(node, path, "a tag (`!...`) is not allowed here")
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, path)
            if isinstance(node, yaml.SequenceNode):
                return [self._item(child, (*path, i)) for i, child in enumerate(node.value)]
            return self._scalar(node, path)
        finally:
            self._open.discard(id(node))

    def _item(self, node: yaml.Node, path: KeyPath) -> Any:
        self._source.places[path] = self._here(node)
        return self._convert(node, path)

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        lines: dict[str, int] = {}
        for key_node, _ in node.value:  # before merge keys are flattened: those may be overridden
            if not isinstance(key_node, yaml.ScalarNode):
                raise self._error(key_node, path, "a key must be plain text")
            line = key_node.start_mark.line + 1
            key = key_node.value
            if key in lines:
                told = f"the key '{key}' stands twice (first on line {lines[key]})"
                raise self._error(key_node, path, told)
            lines[key] = line
        self._loader.flatten_mapping(node)
        out: dict[str, Any] = {}
        for key_node, value_node in node.value:
            # The text of the key as written: a model may be called `1`, `no` or `on`.
            key_path = (*path, str(key_node.value))
            self._source.places[key_path] = self._here(key_node)
            out[str(key_node.value)] = self._convert(value_node, key_path)
        return out

    def _scalar(self, node: yaml.Node, path: KeyPath) -> Any:
        value: Any = self._loader.construct_object(node)
        environ = self._environ
        if environ is None or not isinstance(value, str) or "${" not in value:
            return value
        names: list[str] = []
        text = _VARIABLE.sub(lambda match: self._variable(match, node, path, names, environ), value)
        place = self._here(node)
        self._source.places[path] = Place(place.file, place.line, variables=tuple(names))
        return text

    def _variable(
        self,
        match: re.Match[str],
        node: yaml.Node,
        path: KeyPath,
        names: list[str],
        environ: Mapping[str, str],
    ) -> str:
        name, default = match.group(1), match.group(2)
        if name is None:  # `$${` stands for `${`
            return "${"
        value = environ.get(name) or default  # an empty variable counts as not set
        if value is None:
            raise MissingVariableError(
                f"{self._here(node)}: {dotted(path)} needs the environment variable {name}, "
                "which is not set.",
                data={"variable": name, "key": dotted(path), "file": str(self._file)},
            )
        names.append(name)
        return value

    def _here(self, node: yaml.Node) -> Place:
        return Place(file=self._file, line=node.start_mark.line + 1)

    def _error(self, node: yaml.Node, path: KeyPath, told: str) -> ConfigurationError:
        key = dotted(path)
        return ConfigurationError(
            f"{self._here(node)}: {f'in {key}: ' if key else ''}{told}.",
            data={"file": str(self._file), "line": node.start_mark.line + 1, "key": key},
        )


def _read_text(file: Path) -> str:
    data = {"file": str(file)}
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigurationError(
            f"{file}: is not UTF-8 text (byte {error.start}).",
            remedy="Save the file with the encoding UTF-8.",
            data=data,
        ) from None
    except FileNotFoundError:
        raise ConfigurationError(
            f"{file}: there is no such file.", remedy="Check the path.", data=data
        ) from None
    except OSError as error:
        raise ConfigurationError(
            f"{file}: cannot be read: {error.strerror or type(error).__name__}.",
            remedy="Name a file that you may read.",
            data=data,
        ) from None
    if "\0" in text:
        raise ConfigurationError(f"{file}: holds NUL characters; it is no text file.", data=data)
    return text


def _kind(value: object) -> str:
    words = ((dict, "keys with values"), (list, "a list"), (str, "a text"))
    return next((word for kind, word in words if isinstance(value, kind)), "one value")


def _overlay(source: Source, environ: Mapping[str, str]) -> None:
    for variable, parts, value in _settings_variables(environ):
        node: Any = source.tree
        path: KeyPath = ()
        for part in parts[:-1]:
            key = _same_key(node, part)
            if not isinstance(node.get(key), dict):
                node[key] = {}
            node = node[key]
            path = (*path, key)
            source.places.setdefault(path, Place(variable=variable))
        path = (*path, _same_key(node, parts[-1]))
        for old in [known for known in source.places if known[: len(path)] == path]:
            del source.places[old]
        node[path[-1]] = _environment_value(variable, value)
        source.places[path] = Place(variable=variable)


def _settings_variables(environ: Mapping[str, str]) -> Iterator[tuple[str, list[str], str]]:
    """Shorter names first, so that ``NEARFAR__LOCAL={...}`` comes before ``NEARFAR__LOCAL__X``."""
    for variable in sorted(environ, key=lambda name: (name.count("__"), name)):
        if not variable.upper().startswith(ENV_PREFIX) or not environ[variable]:
            continue
        parts = variable[len(ENV_PREFIX) :].split("__")
        if not all(parts):
            raise ConfigurationError(
                f"The environment variable {variable} names no setting.",
                remedy="Write it as NEARFAR__SECTION__KEY, as in NEARFAR__LOCAL__MAX_ACTIVE=2.",
                data={"variable": variable},
            )
        yield variable, parts, environ[variable]


def _same_key(node: Mapping[str, Any], part: str) -> str:
    """The key that is there already (variables know no case and no dashes), else lower case."""
    wanted = _plain(part)
    return next((key for key in node if _plain(key) == wanted), part.lower())


def _plain(key: str) -> str:
    return re.sub(r"[^a-z0-9]", "_", key.lower())


def _environment_value(variable: str, text: str) -> Any:
    """Lists and mappings in YAML or JSON flow style; everything else is text, which fields convert."""
    if not text.lstrip().startswith(("[", "{")):
        return EnvironmentText(text)
    try:
        return _mark(yaml.safe_load(text))
    except yaml.YAMLError:
        raise ConfigurationError(
            f"The environment variable {variable} starts like a list or mapping, but is not valid "
            "YAML.",
            remedy='Write lists as ["cpu"] and mappings as {"key": "value"}.',
            data={"variable": variable},
        ) from None


def _mark(value: Any) -> Any:
    if isinstance(value, str):
        return EnvironmentText(value)
    if isinstance(value, list):
        return [_mark(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _mark(item) for key, item in value.items()}
    return value
