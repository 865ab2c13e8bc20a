"""What the settings say about the steps of a workflow, put on a copy of its graph."""

import builtins
import copy
import difflib
from importlib import import_module
from typing import Any

from langgraph.graph import StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import RetryPolicy, TimeoutPolicy

from nearfar.errors import ConfigurationError, NearfarError
from nearfar.settings import NodeSettings, RetrySettings

from .loading import load, parse_place

Graph = CompiledStateGraph[Any, Any, Any, Any]


def with_policies(graph: Graph, name: str, nodes: dict[str, NodeSettings]) -> Graph:
    """A copy of the graph whose steps have these policies; those that are not named keep theirs.

    Raises ConfigurationError for a step that the graph does not have, for a timeout of a step that
    is not async, and for a reference that leads nowhere.
    """
    if not nodes:
        return graph
    known = [node for node in graph.nodes if not node.startswith("__")]
    for node in nodes:
        if node not in known:
            near = difflib.get_close_matches(node, known, n=1)
            raise ConfigurationError(
                f"The workflow {name!r} has no step {node!r}.",
                remedy=f"{f'Did you mean {near[0]}? ' if near else ''}Its steps: "
                f"{', '.join(known)}.",
                data={"key": f"workflows.{name}.nodes.{node}", "known": known},
            )
    handlers = {node: own.on_error for node, own in nodes.items() if own.on_error}
    if handlers:
        graph = _with_handlers(graph, name, handlers)
    changed = {node: graph.nodes[node].copy(_update(own, name)) for node, own in nodes.items()}
    try:
        return graph.copy({"nodes": {**graph.nodes, **changed}})
    except ValueError as error:
        raise ConfigurationError(
            f"The workflow {name!r} cannot be given these timeouts: {error}",
            remedy="Make the step an async function, or take its timeout out of the settings.",
            data={"key": f"workflows.{name}.nodes"},
        ) from error


def _update(own: NodeSettings, name: str) -> dict[str, Any]:
    update: dict[str, Any] = {}
    if own.retry is not None:
        update["retry_policy"] = (_retry_policy(own.retry, name),)
    if own.timeout_s is not None or own.idle_timeout_s is not None:
        update["timeout"] = TimeoutPolicy(
            run_timeout=own.timeout_s, idle_timeout=own.idle_timeout_s
        )
    return update


def _retry_policy(own: RetrySettings, name: str) -> RetryPolicy:
    policy = RetryPolicy(
        initial_interval=own.wait_s,
        backoff_factor=own.factor,
        max_interval=own.max_wait_s,
        max_attempts=own.attempts,
        jitter=own.jitter,
    )
    if not own.on:
        return policy
    return policy._replace(retry_on=tuple(_exception(named, name) for named in own.on))


def _exception(named: str, name: str) -> type[Exception]:
    module, colon, attribute = named.rpartition(":")
    try:
        found = getattr(import_module(module) if colon else builtins, attribute)
    except (ImportError, AttributeError):
        found = None
    if not (isinstance(found, type) and issubclass(found, Exception)):
        raise ConfigurationError(
            f"{named!r} in the settings of the workflow {name!r} is no exception.",
            remedy="Write ConnectionError, or package.module:Name.",
            data={"key": f"workflows.{name}.nodes", "exception": named},
        )
    return found


def _with_handlers(graph: Graph, name: str, handlers: dict[str, str]) -> Graph:
    """Compiled anew from a copy of what the graph was built from, with LangGraph's error handlers."""
    if not isinstance(graph, CompiledStateGraph):
        raise ConfigurationError(
            f"The workflow {name!r} is a function, so its steps cannot have on_error.",
            remedy="Handle the error in the function.",
            data={"key": f"workflows.{name}.nodes"},
        )
    builder = copy.copy(graph.builder)
    builder.nodes = {node: copy.copy(spec) for node, spec in builder.nodes.items()}
    builder._node_defaults = type(builder._node_defaults)()  # noqa: SLF001  # applied when it was compiled
    for node, reference in handlers.items():
        spec = builder.nodes[node]
        if spec.error_handler_node:
            builder.nodes.pop(spec.error_handler_node, None)
        scratch: StateGraph[Any, Any, Any, Any] = StateGraph(graph.builder.state_schema)
        scratch.add_node(
            node, spec.runnable, input_schema=spec.input_schema, error_handler=_handler(reference)
        )
        spec.error_handler_node = scratch.nodes[node].error_handler_node
        builder.nodes[str(spec.error_handler_node)] = scratch.nodes[str(spec.error_handler_node)]
    return builder.compile(
        cache=graph.cache,
        store=graph.store,
        interrupt_before=graph.interrupt_before_nodes,  # type: ignore[arg-type]
        interrupt_after=graph.interrupt_after_nodes,  # type: ignore[arg-type]
        debug=graph.debug,
        name=graph.name,
    )


def _handler(reference: str) -> Any:
    place = parse_place(reference)
    assert place is not None  # noqa: S101  (the settings have checked its form)
    try:
        found = load(place)
    except NearfarError as error:
        raise ConfigurationError(error.message, remedy=error.remedy, data=error.data) from error
    if not callable(found):
        raise ConfigurationError(f"{reference} is not a function.", data={"name": reference})
    return found
