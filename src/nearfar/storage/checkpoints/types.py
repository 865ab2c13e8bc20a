"""The classes that a graph's state is declared to hold."""

from typing import Any

from langgraph._internal._serde import collect_allowlist_from_schemas
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
