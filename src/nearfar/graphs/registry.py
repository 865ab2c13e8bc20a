"""Find workflows: by name (settings, built in, installed packages) or by place (file, module).

A workflow may be given as a compiled graph, as a ``StateGraph`` (compiled here), or as a function
that makes one of them, with no argument or with ``settings``, async or not.
"""

import asyncio
import difflib
import inspect
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from langgraph.graph import StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.pregel import Pregel

from nearfar.errors import NearfarError, WorkflowError, WorkflowNotFoundError
from nearfar.settings import NodeSettings, Settings, resolve

from .loading import load, parse_place
from .policies import with_policies

ENTRY_POINT_GROUP = "nearfar.workflows"

BUILT_IN = {
    "ask": "nearfar.graphs.ask:build_ask",
    "assistant": "nearfar.graphs.assistant:build_assistant",
    "code_review": "nearfar.graphs.code_review:build_code_review",
    "data_report": "nearfar.graphs.data_report:build_data_report",
    "research": "nearfar.graphs.research:build_research",
    "approve": "nearfar.graphs.approve:build_approve",
    "extract": "nearfar.graphs.extract:build_extract",
    "summarize": "nearfar.graphs.summarize:build_summarize",
}

Graph = CompiledStateGraph[Any, Any, Any, Any]


@dataclass(frozen=True)
class Workflow:
    """A workflow that was found; its code has not been loaded yet."""

    name: str
    origin: str  # "settings", "built-in", "package", "file" or "module"
    reference: str
    fetch: Callable[[], Any]
    nodes: Mapping[str, NodeSettings] = field(default_factory=dict)  # policies of its steps
    folder: str | None = None  # where its module is looked for; None: in the working directory

    def graph(self, settings: Settings | None = None) -> Graph:
        """Load it and compile it without a checkpointer. Raises WorkflowError.

        What the settings say about its steps is put on a copy. Raises ConfigurationError where
        that does not fit the graph.
        """
        made = _compiled(self._made(self.fetch(), settings))
        return with_policies(made, self.name, dict(self.nodes))

    def _made(self, value: Any, settings: Settings | None) -> Any:
        if isinstance(value, StateGraph | Pregel) or not callable(value):
            return self._checked(value)
        options = {"settings": settings} if self._takes_settings(value) else {}
        try:
            made = value(**options)
            return self._checked(_awaited(made) if inspect.iscoroutine(made) else made)
        except NearfarError:
            raise
        except (
            Exception,
            SystemExit,
        ) as error:  # a plugin boundary: the factory is the user's code
            raise WorkflowError(
                f"The function {self.reference} that makes the workflow failed: "
                f"{type(error).__name__}: {error}",
                remedy="Mend the function; it is called without arguments or with settings=.",
                data={"name": self.name},
            ) from error

    def _takes_settings(self, factory: Callable[..., Any]) -> bool:
        try:
            parameters = inspect.signature(factory).parameters
        except ValueError:  # some callables written in C have no signature
            return False
        empty = inspect.Parameter.empty
        several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        needed = [
            name
            for name, p in parameters.items()
            if p.default is empty and p.kind not in several and name != "settings"
        ]
        if needed:
            raise WorkflowError(
                f"{self.reference} needs {', '.join(needed)}, so it cannot be used as a workflow.",
                remedy="A function that makes a workflow takes no argument, or settings.",
                data={"name": self.name},
            )
        return "settings" in parameters

    def _checked(self, value: Any) -> Any:
        if isinstance(value, StateGraph | Pregel):
            return value
        if hasattr(value, "__aenter__") or hasattr(value, "__enter__"):
            raise self._not_a_graph("a context manager; a workflow outlives the call that makes it")
        raise self._not_a_graph(f"a {type(value).__name__}")

    def _not_a_graph(self, what: str) -> WorkflowError:
        return WorkflowError(
            f"{self.reference} is {what}, not a LangGraph graph.",
            remedy="Name a StateGraph, a compiled graph, or a function that returns one.",
            data={"name": self.name},
        )


def _awaited(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """What it returns, from an event loop of its own: the caller's, if there is one, is busy."""
    with ThreadPoolExecutor(1, thread_name_prefix="nearfar-factory") as thread:
        return thread.submit(asyncio.run, coroutine).result()


def _compiled(value: Any) -> Graph:
    if isinstance(value, StateGraph):
        return value.compile()
    if value.checkpointer is None:
        return value  # type: ignore[no-any-return]  # a Pregel of the functional API works alike
    return value.copy({"checkpointer": None})  # type: ignore[no-any-return]


def names(settings: Settings | str | Path | None = None) -> list[str]:
    """The names that ``find`` knows, sorted; nothing of theirs is loaded."""
    return sorted({*resolve(settings).workflows, *BUILT_IN, *_installed()})


def find(reference: str, settings: Settings | str | Path | None = None) -> Workflow:
    """The workflow of that name or at that place; its code is loaded by ``Workflow.graph``.

    A name is looked for in the settings, then among the built-in ones, then in the entry points
    ``nearfar.workflows`` of installed packages. Raises WorkflowNotFoundError with near names.
    """
    chosen = resolve(settings)
    entry = chosen.workflows.get(reference)
    if entry is None:
        return _elsewhere(reference, chosen)
    if isinstance(entry, str):
        return _placed(reference, entry, "settings")
    if entry.graph is not None:
        return replace(_placed(reference, entry.graph, "settings"), nodes=entry.nodes)
    return replace(_elsewhere(reference, chosen), nodes=entry.nodes)


def _elsewhere(reference: str, chosen: Settings) -> Workflow:
    """Not in the settings: built in, installed, or a place."""
    if reference in BUILT_IN:
        return _placed(reference, BUILT_IN[reference], "built-in")
    if _is_crew(reference):
        return _placed(reference, reference, "file")
    place = parse_place(reference)
    if place is not None:  # before the packages: looking through them takes milliseconds
        return _placed(reference, reference, "file" if place.is_file else "module")
    installed = _installed()
    if reference in installed:
        point = installed[reference]
        return Workflow(reference, "package", point.value, lambda: _from_package(point))
    raise _unknown(reference, chosen)


def workflow(name: str, *, settings: Settings | str | Path | None = None) -> Graph:
    """The graph of that name or place, compiled without a checkpointer."""
    chosen = resolve(settings)
    return find(name, chosen).graph(chosen)


def _placed(name: str, reference: str, origin: str) -> Workflow:
    if _is_crew(reference):
        return Workflow(name, origin, reference, lambda: _crew(reference))
    place = parse_place(reference)
    if place is None:
        raise WorkflowNotFoundError(
            f"The workflow {name!r} stands for {reference!r}, which is none of FILE.py:ATTRIBUTE, "
            "package.module:ATTRIBUTE and CREW.yaml.",
            remedy="Mend the entry under `workflows` in nearfar.yaml.",
            data={"name": name, "known": []},
        )
    return Workflow(name, origin, str(place), lambda: load(place))


def _is_crew(reference: str) -> bool:
    return reference.lower().endswith((".yaml", ".yml"))


def _crew(file: str) -> Callable[..., Any]:
    """A function that makes the graph of the crew in that file."""

    def build(settings: Settings | None = None) -> Graph:
        from nearfar.agents.crew import build_crew

        return build_crew(file, settings=settings)

    return build


def _installed() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}


def _from_package(point: EntryPoint) -> Any:
    try:
        return point.load()
    except Exception as error:  # a plugin boundary: the package may hold any code
        owner = point.dist.name if point.dist else "an installed package"
        raise WorkflowError(
            f"The workflow {point.name!r} of {owner} cannot be loaded: "
            f"{type(error).__name__}: {error}",
            remedy=f"Update or remove {owner}.",
            data={"name": point.name},
        ) from error


def _unknown(reference: str, settings: Settings) -> WorkflowNotFoundError:
    known = names(settings)
    near = difflib.get_close_matches(reference, known, n=1)
    guess = f"Did you mean {near[0]}? " if near else ""
    return WorkflowNotFoundError(
        f"There is no workflow {reference!r}.",
        remedy=f"{guess}Known: {', '.join(known)}; or name FILE.py:ATTRIBUTE or CREW.yaml.",
        data={"name": reference, "known": known},
    )
