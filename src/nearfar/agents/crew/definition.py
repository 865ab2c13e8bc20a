"""What a crew is made of. Plain data: the same from YAML and from Python.

Models, tools and guards are named here; ``build_crew`` is given objects for names of one's own.
"""

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, field_validator

from nearfar._settings_section import Section
from nearfar.prompts import Variable

Process = Literal["sequential", "parallel", "hierarchical"]
Path = tuple[str | int, ...]

RESERVED = frozenset(
    {"results", "messages", "artifacts", "calls", "feedback", "output", "tasks", "performance",
     "prompts", "show_prompts", "report"}
)  # fmt: skip
_NAME = r"^[A-Za-z][A-Za-z0-9_-]*$"
Name = Annotated[str, Field(pattern=_NAME)]


class Limits(Section):
    """How far a role may go in one attempt at a task."""

    steps: Annotated[int, Field(ge=1)] = 12
    """Calls of the model."""
    tool_calls: Annotated[int, Field(ge=0)] = 24
    """Calls of tools."""
    time_s: Annotated[float, Field(gt=0)] | None = 600
    """Seconds at work."""
    usd: Annotated[Decimal, Field(ge=0)] | None = None
    """What the calls of models may cost; unset: no limit."""


class CrewLimits(Section):
    """How far a run of the whole crew may go; looked at before each task."""

    steps: Annotated[int, Field(ge=1)] | None = None
    """Calls of models, of all roles together; unset: what the roles' limits come to."""
    usd: Annotated[Decimal, Field(ge=0)] | None = None
    """What the calls may cost; unset: no limit."""


class Role(Section):
    """Someone who works in the crew."""

    goal: Annotated[str, Field(min_length=1)]
    """What the role is there for."""
    instructions: str = ""
    """How it works."""
    tools: list[str] = Field(default=[])
    """Tools by name, as in `nearfar tools list`."""
    model: str | None = None
    """A model or router by name; unset: the crew's."""
    limits: Limits = Limits()
    """How far it may go in one attempt at a task."""
    delegates: bool = False
    """Whether it may hand tasks on to other roles."""
    talks: bool = False
    """Whether it may write messages to other roles, which they get with their next task."""


class Guard(Section):
    """What a result must be like, else the role tries again."""

    min_chars: Annotated[int, Field(ge=0)] = 0
    """Characters that it has at least."""
    max_chars: Annotated[int, Field(ge=1)] | None = None
    """Characters that it has at most."""
    matches: str | None = None
    """A regular expression that must be found in it."""
    forbids: str | None = None
    """A regular expression that must not be found in it."""
    check: str | None = None
    """The name of a function that `build_crew` was given in `guards`."""

    @field_validator("matches", "forbids")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise ValueError(f"is no regular expression ({error})") from None
        return pattern


class Task(Section):
    """A piece of work with a result."""

    model_config = ConfigDict(populate_by_name=True)

    description: Annotated[str, Field(min_length=1)]
    """What is to be done; `{{ name }}` stands for an input of the crew."""
    role: str | None = None
    """Who does it; only the lead of a hierarchical crew may choose."""
    expects: str = ""
    """What the result is to be, in words."""
    result_schema: dict[str, Any] | None = Field(default=None, alias="schema")
    """The JSON schema of the result, if it is not a text."""
    after: list[str] | None = None
    """Tasks that must be done before, and whose results it is given; unset: what the process says."""
    guard: Guard = Guard()
    """What the result must be like."""
    review: bool = False
    """Whether a person must agree to the result."""
    attempts: Annotated[int, Field(ge=1, le=10)] = 2
    """How often it is tried before it counts as failed."""
    on_failure: Literal["stop", "continue"] = "stop"
    """`continue`: the tasks after it are told that it did not come out."""


class Crew(Section):
    """Roles, tasks, and in which order."""

    name: Annotated[str, Field(pattern=_NAME)] = "crew"
    """Its name as a graph."""
    description: str = ""
    """What it is there for; a lead is told it as the goal."""
    process: Process = "sequential"
    """`sequential`, `parallel` (all that wait for nothing at once) or `hierarchical` (a lead hands on)."""
    model: str | None = None
    """A model or router by name, for all roles without their own; unset: the default."""
    inputs: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")], Variable] = Field(default={})
    """What a run is given; stands in tasks as `{{ name }}`."""
    roles: Annotated[dict[Name, Role], Field(min_length=1)]
    """Who works in it."""
    tasks: Annotated[dict[Name, Task], Field(min_length=1)]
    """What is to be done, in order."""
    lead: str | None = None
    """The role that leads a hierarchical crew."""
    output: str | None = None
    """The task whose result is the crew's; unset: the last, or what the lead writes."""
    limits: CrewLimits = CrewLimits()
    """How far a run of the whole crew may go."""
    max_depth: Annotated[int, Field(ge=1, le=5)] = 1
    """How deeply tasks may be handed on: 1, only the lead hands on."""
    max_delegations: Annotated[int, Field(ge=1)] = 20
    """How often tasks may be handed on in one run."""

    def needs(self, task: str) -> list[str]:
        """The tasks whose results it is given, in the crew's order."""
        own = self.tasks[task].after
        if own is not None:
            return [name for name in self.tasks if name in own]
        before = list(self.tasks)[: list(self.tasks).index(task)]
        return before if self.process == "sequential" else []

    def problems(self) -> Iterator[tuple[Path, str]]:
        """What does not go together, with the keys that it stands at."""
        for name in self.inputs:
            if name in RESERVED:
                yield ("inputs", name), f"{name!r} is a name that crews keep for themselves"
        for name, task in self.tasks.items():
            yield from self._problems_of(name, task)
        if self.process == "hierarchical" and self.lead is None:
            yield ("process",), "a hierarchical crew needs a `lead`"
        if self.process != "hierarchical" and self.lead is not None:
            yield ("lead",), "only a hierarchical crew has a lead"
        if self.lead is not None and self.lead not in self.roles:
            yield ("lead",), f"there is no role {self.lead!r}; known: {_list(self.roles)}"
        if self.output is not None and self.output not in self.tasks:
            yield ("output",), f"there is no task {self.output!r}; known: {_list(self.tasks)}"
        circle = self._circle()
        if circle:
            yield (
                ("tasks", circle[0], "after"),
                f"the tasks wait for each other: {' -> '.join(circle)}",
            )

    def _problems_of(self, name: str, task: Task) -> Iterator[tuple[Path, str]]:
        at = ("tasks", name)
        if task.role is None and self.process != "hierarchical":
            yield at, f"the task {name!r} needs a `role`"
        if task.role is not None and task.role not in self.roles:
            yield (*at, "role"), f"there is no role {task.role!r}; known: {_list(self.roles)}"
        for place, other in enumerate(task.after or ()):
            if other not in self.tasks:
                yield (
                    (*at, "after", place),
                    f"there is no task {other!r}; known: {_list(self.tasks)}",
                )
        if task.review and self.process == "hierarchical":
            yield (*at, "review"), "in a hierarchical crew the lead takes the results, not a person"

    def _circle(self) -> list[str]:
        waiting = {name: set(self.needs(name)) & set(self.tasks) for name in self.tasks}
        while True:
            free = {name for name, needed in waiting.items() if not needed}
            if not free:
                break
            waiting = {n: needed - free for n, needed in waiting.items() if n not in free}
        if not waiting:
            return []
        path = [next(iter(waiting))]
        while path[-1] not in path[:-1]:
            path.append(min(waiting[path[-1]]))
        return path[path.index(path[-1]) :]


def _list(names: Any) -> str:
    return ", ".join(names)
