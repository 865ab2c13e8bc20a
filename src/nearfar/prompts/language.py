"""The language of templates: a small, closed part of Jinja.

``{{ name }}``, ``{{ name | filter }}``, ``if``/``elif``/``else``, ``for`` over a variable, and
``include "other"``. No calls, no assignments, no macros, no attributes other than those of loop
items. What a variable holds is put in as text and never read as a template.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, StrictUndefined, TemplateError, TemplateSyntaxError, nodes
from jinja2.loaders import FunctionLoader
from jinja2.sandbox import ImmutableSandboxedEnvironment

MAX_CHARS = 2_000_000  # of a rendered prompt

_NODES = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const, nodes.If, nodes.For,
    nodes.Include, nodes.Filter, nodes.Getattr, nodes.Compare, nodes.Operand, nodes.Not, nodes.And,
    nodes.Or, nodes.Keyword,
)  # fmt: skip
_LOOP = ("index", "first", "last", "length")
_TAGS = {nodes.Assign: "set", nodes.AssignBlock: "set", nodes.Macro: "macro", nodes.Call: "a call",
         nodes.Import: "import", nodes.FromImport: "import", nodes.Extends: "extends",
         nodes.Block: "block", nodes.CallBlock: "call", nodes.Getitem: "an index"}  # fmt: skip


class LanguageError(Exception):
    """Something that the language does not have; ``line`` counts from 1 within the template."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True)
class Used:
    """A variable where it stands in a template, or the name of another template."""

    name: str
    line: int


@dataclass(frozen=True)
class Reading:
    """What a template uses."""

    variables: tuple[Used, ...]
    includes: tuple[Used, ...]


def _bullets(value: Any) -> str:
    return "\n".join(f"- {item}" for item in value)


def _numbered(value: Any) -> str:
    return "\n".join(f"[{n}] {item}" for n, item in enumerate(value, 1))


FILTERS: dict[str, Callable[..., Any]] = {
    "bullets": _bullets,
    "json": lambda value: json.dumps(value, ensure_ascii=False),
    "length": len,
    "lines": lambda value: "\n".join(str(item) for item in value),
    "lower": lambda value: str(value).lower(),
    "numbered": _numbered,
    "trim": lambda value: str(value).strip(),
    "upper": lambda value: str(value).upper(),
    "words": lambda value: ", ".join(str(item) for item in value),
}


def environment(load: Callable[[str], str | None] | None = None) -> Environment:
    """Made anew for each library; ``load`` gives the text of an included template."""
    made = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=FunctionLoader(load) if load else None,
    )
    made.filters.clear()
    made.filters.update(FILTERS)
    made.globals.clear()
    made.tests = {name: made.tests[name] for name in ("defined",)}
    return made


def read(text: str) -> Reading:
    """What the template uses. Raises LanguageError."""
    try:
        tree = environment().parse(text)
    except TemplateSyntaxError as error:
        raise LanguageError(str(error.message), error.lineno) from None
    except RecursionError:
        raise LanguageError("it is nested too deeply", 1) from None
    variables: list[Used] = []
    includes: list[Used] = []
    _walk(tree, frozenset(), variables, includes)
    return Reading(tuple(variables), tuple(includes))


def _walk(
    node: nodes.Node, local: frozenset[str], variables: list[Used], includes: list[Used]
) -> None:
    _check_node(node, local)
    if isinstance(node, nodes.Name):
        if node.name not in local:
            variables.append(Used(node.name, node.lineno))
    elif isinstance(node, nodes.Include):
        includes.append(Used(_target(node), node.lineno))
    elif isinstance(node, nodes.For):
        _walk(node.iter, local, variables, includes)
        inner = local | set(_loop_names(node)) | {"loop"}
        for child in (*node.body, *([node.test] if node.test else [])):
            _walk(child, inner, variables, includes)
        for child in node.else_:
            _walk(child, local, variables, includes)
    else:
        for child in node.iter_child_nodes():
            _walk(child, local, variables, includes)


def _check_node(node: nodes.Node, local: frozenset[str]) -> None:
    if not isinstance(node, _NODES):
        what = _TAGS.get(type(node), type(node).__name__.lower())
        raise LanguageError(f"templates have no {what!r}", node.lineno)
    if isinstance(node, nodes.Filter) and node.name not in FILTERS:
        known = ", ".join(sorted(FILTERS))
        raise LanguageError(f"there is no filter {node.name!r} (known: {known})", node.lineno)
    if isinstance(node, nodes.Filter) and (node.args or node.kwargs or node.dyn_args):
        raise LanguageError(f"the filter {node.name!r} takes no values", node.lineno)
    if isinstance(node, nodes.Getattr):
        owner = node.node.name if isinstance(node.node, nodes.Name) else ""
        if owner not in local or node.attr.startswith("_"):
            raise LanguageError("only items of a loop have fields", node.lineno)
        if owner == "loop" and node.attr not in _LOOP:
            raise LanguageError(f"a loop has only {', '.join(_LOOP)}", node.lineno)
    if isinstance(node, nodes.For) and node.recursive:
        raise LanguageError("a loop cannot be recursive", node.lineno)


def _target(node: nodes.Include) -> str:
    target = node.template
    if not (isinstance(target, nodes.Const) and isinstance(target.value, str)):
        raise LanguageError('an include names its template: {% include "name" %}', node.lineno)
    return target.value


def _loop_names(node: nodes.For) -> list[str]:
    if not isinstance(node.target, nodes.Name):
        raise LanguageError("a loop has one variable: {% for item in items %}", node.lineno)
    if not isinstance(node.iter, nodes.Name | nodes.Getattr):
        raise LanguageError("a loop goes over a variable", node.lineno)
    return [node.target.name]


def render(env: Environment, text: str, values: dict[str, Any]) -> str:
    """The text with the values in their places. Raises LanguageError."""
    try:
        pieces = list(_limited(env.from_string(text).generate(values)))
    except TemplateError as error:
        raise LanguageError(str(error.message), getattr(error, "lineno", None) or 1) from None
    except TypeError as error:  # a loop over a number, an upper-case list
        raise LanguageError(f"a value does not fit its place ({error})", 1) from None
    return "".join(pieces)


def _limited(pieces: Iterator[str]) -> Iterator[str]:
    total = 0
    for piece in pieces:
        total += len(piece)
        if total > MAX_CHARS:
            raise LanguageError(f"the prompt is longer than {MAX_CHARS:,} characters", 1)
        yield piece
