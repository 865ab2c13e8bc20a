"""What a checkpointer wants to know of a graph."""

import operator
from typing import Any

from langgraph._internal._serde import collect_allowlist_from_schemas
from langgraph.channels import BinaryOperatorAggregate, EphemeralValue, LastValue, Topic
from langgraph.channels.named_barrier_value import NamedBarrierValue
from langgraph.constants import START
from langgraph.graph.message import add_messages
from langgraph.graph.state import CompiledStateGraph
from langgraph.pregel import Pregel


def declared_types(graph: Any) -> set[tuple[str, ...]]:
    """(module, class) of each class in the graph's schemas and channels, and in its subgraphs'."""
    found: set[tuple[str, ...]] = set()
    graphs = [graph]
    if isinstance(graph, Pregel):
        graphs += [subgraph for _, subgraph in graph.get_subgraphs(recurse=True)]
    for each in graphs:
        builder = getattr(each, "builder", None)
        names = ("state_schema", "input_schema", "output_schema", "context_schema")
        schemas = [s for name in names if (s := getattr(builder, name, None)) is not None]
        nodes = getattr(builder, "nodes", {}).values()
        schemas += [s for node in nodes if (s := getattr(node, "input_schema", None)) is not None]
        found |= collect_allowlist_from_schemas(
            schemas=schemas, channels=dict(getattr(each, "channels", {}))
        )
    return found


def starts_quietly(graph: Any) -> bool:
    """Whether no code of the graph's author sees its state between its input and its first step.

    A function that says where to go from START does, and so does one that puts the input in.
    """
    return (
        isinstance(graph, CompiledStateGraph)
        and not graph.builder.branches.get(START)
        and all(map(_is_plain, graph.channels.values()))
    )


def _is_plain(channel: Any) -> bool:
    if isinstance(channel, BinaryOperatorAggregate):
        return channel.operator in (operator.add, add_messages)
    return isinstance(channel, LastValue | EphemeralValue | Topic | NamedBarrierValue)
