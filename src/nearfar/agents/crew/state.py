"""What a crew's tasks hand on: typed, plain JSON, and joined by reducers that may see a thing twice."""

from typing import Annotated, Any, Literal, NotRequired, Required, get_type_hints

from pydantic import Field
from typing_extensions import TypedDict

from nearfar.prompts import Variable

from .definition import Crew


class Result(TypedDict):
    """What came of a task."""

    task: str
    role: str
    ok: bool
    value: Any  # the text, or what the schema describes
    attempts: int
    problems: list[str]  # why earlier attempts were not accepted
    untrusted: bool  # something from outside went into it


class Note(TypedDict):
    """What one role wrote to another."""

    id: str
    sender: str
    to: str
    task: str  # during which it was written
    text: str
    untrusted: bool


class Artifact(TypedDict):
    """What a tool gave for programs: rows, a chart, passages."""

    id: str
    task: str
    role: str
    tool: str
    source: str | None
    untrusted: bool
    data: Any


class Call(TypedDict):
    """One call of a model, as it really was."""

    id: str
    task: str
    role: str
    model: str
    prompt: list[dict[str, Any]]  # role, text, and where there are any: tool_calls
    tools: list[str]
    reply: str
    input_tokens: int
    output_tokens: int
    cost_usd: float | None  # None: the price is not known
    latency_s: float | None  # None: the call was before the run was resumed
    retries: int  # further attempts of a router
    error: str | None


def by_key(left: dict[str, Any] | None, right: dict[str, Any] | None) -> dict[str, Any]:
    """The later result of a task wins; None empties."""
    return {} if right is None else {**(left or {}), **right}


def by_id(left: list[Any] | None, right: list[Any] | None) -> list[Any]:
    """Each entry once, the first of its id, in the order they came; None empties."""
    if right is None:
        return []
    joined: dict[str, Any] = {}
    for entry in [*(left or []), *right]:
        joined.setdefault(entry["id"], entry)
    return list(joined.values())


class Shared(TypedDict):
    """The state below a crew's inputs."""

    results: Annotated[dict[str, Result], by_key]
    messages: Annotated[list[Note], by_id]
    artifacts: Annotated[list[Artifact], by_id]
    calls: Annotated[list[Call], by_id]
    feedback: Annotated[dict[str, str], by_key]  # by task: what a person wants changed


class Output(TypedDict):
    """What a run of a crew gives."""

    output: Any
    tasks: dict[str, Result]
    messages: list[Note]
    artifacts: list[Artifact]
    performance: dict[str, Any]
    prompts: list[dict[str, Any]]


_PYTHON: dict[str, Any] = {
    "string": str, "integer": int, "number": float, "boolean": bool, "list": list[Any],
    "object": dict[str, Any],
}  # fmt: skip


def schemas(crew: Crew) -> tuple[Any, Any]:
    """The types of state and input, with a key for each input of the crew."""
    fields: dict[str, Any] = {}
    for name, variable in crew.inputs.items():
        hint: Any = Annotated[_hint(variable), Field(description=variable.description)]
        fields[name] = Required[hint] if variable.needed else NotRequired[hint]
    shown = Annotated[bool, Field(description="Give all prompts that were sent with the output.")]
    fields["show_prompts"] = NotRequired[shown]
    whole = {**get_type_hints(Output), **get_type_hints(Shared, include_extras=True), **fields}
    make: Any = TypedDict  # by its function: the keys are known at run time
    return make(f"{crew.name}_state", whole), make(f"{crew.name}_input", fields)


def _hint(variable: Variable) -> Any:
    if variable.enum:
        return Literal[tuple(variable.enum)]
    kind = _PYTHON[variable.type]
    return kind if variable.needed else kind | None
