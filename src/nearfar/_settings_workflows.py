"""Workflows, and what their steps do when something goes wrong."""

from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag, model_validator

from ._settings_places import WorkflowReference
from ._settings_section import Section as _Section


class RetrySettings(_Section):
    """How a step is tried again."""

    attempts: Annotated[int, Field(ge=1, le=1000)] = 3
    """How often the step is tried, the first time included."""
    wait_s: Annotated[float, Field(ge=0)] = 0.5
    """Seconds before the second attempt."""
    factor: Annotated[float, Field(ge=1)] = 2.0
    """By how much the wait grows each time."""
    max_wait_s: Annotated[float, Field(ge=0)] = 128.0
    """Seconds between two attempts, at most."""
    jitter: bool = True
    """Add up to a second by chance, so that many do not come back at once."""
    on: list[str] = Field(default=[])
    """Exceptions after which the step is tried again, as `ConnectionError` or `package.module:Name`; none named: LangGraph's own choice (no mistakes in code, no 4xx)."""


class NodeSettings(_Section):
    """What one step of a workflow does when something goes wrong."""

    retry: RetrySettings | None = None
    """Try the step again; unset: as the graph says."""
    timeout_s: Annotated[float, Field(gt=0)] | None = None
    """Seconds that one attempt may take; only for steps that are async."""
    idle_timeout_s: Annotated[float, Field(gt=0)] | None = None
    """Seconds that one attempt may go without a sign of progress; only for steps that are async."""
    on_error: WorkflowReference | None = None
    """`package.module:function` or `./file.py:function`: called with state and error when the step has failed for good; it returns an update or a `Command`."""

    @model_validator(mode="after")
    def _says_something(self) -> "NodeSettings":
        if not self.model_fields_set:
            raise ValueError("must say something: retry, timeout_s, idle_timeout_s or on_error")
        return self


class WorkflowSettings(_Section):
    """A workflow with more than its place."""

    graph: WorkflowReference | None = None
    """`package.module:graph` or `./file.py:graph`; unset: the workflow of that name that is built in or installed."""
    nodes: dict[str, NodeSettings] = Field(default={})
    """Its steps by name."""


PLAIN, SECTION = "[place]", "[section]"  # the two forms; taken out of the places in messages


def _form(value: Any) -> str:
    return SECTION if isinstance(value, dict | WorkflowSettings) else PLAIN


WorkflowEntry = Annotated[
    Annotated[WorkflowReference, Tag(PLAIN)] | Annotated[WorkflowSettings, Tag(SECTION)],
    Discriminator(_form),
]
