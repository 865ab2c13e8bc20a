"""What a step raised, as an error that names the step."""

import re
from typing import Any

from langgraph.errors import EmptyInputError, GraphRecursionError

from nearfar.errors import (
    WorkflowError,
    WorkflowFailedError,
    WorkflowInputError,
)
from nearfar.graphs.inputs import InputSchema

from .exits import StepExit

_STEP = re.compile(r"During task with name '(?P<step>.+?)' and id ")


def step_of(error: BaseException) -> str | None:
    """LangGraph notes on the exception which of its tasks raised; the outermost comes last."""
    for note in getattr(error, "__notes__", ()):
        found = _STEP.search(note)
        if found:
            return found["step"]
    return None


def failure(
    error: Exception, schema: InputSchema, values: Any, data: dict[str, Any]
) -> WorkflowError:
    """A step's failure with its name; a field that was not given is told as that."""
    if isinstance(error, EmptyInputError):
        fields = [field.name for field in schema.fields or ()]
        return WorkflowInputError(
            f"The workflow was given no input; it takes {', '.join(fields) or 'one value'}.",
            data={"fields": fields, **data},
        )
    step = step_of(error)
    if isinstance(error, StepExit):
        return program_ended(error.code, step, data)
    absent = error.args[0] if isinstance(error, KeyError) and error.args else None
    known = {field.name for field in schema.fields or ()}
    given = values if isinstance(values, dict) else {}
    if absent in known and absent not in given:
        return WorkflowInputError(
            f"The workflow needs {absent!r}: its step {step!r} asked for it.",
            remedy=f"Add --{str(absent).replace('_', '-')} ...",
            data={"fields": [absent], **data},
        )
    return _failed(error, step, data)


def program_ended(code: Any, step: str | None, data: dict[str, Any]) -> WorkflowFailedError:
    """For a step that called ``sys.exit``."""
    return WorkflowFailedError(
        f"{f'The step {step!r}' if step else 'A step'} ended the program (exit code {code}).",
        remedy="Return from the step, or raise an error, instead of sys.exit().",
        data={**data, "step": step, "type": "SystemExit"},
    )


def _failed(error: Exception, step: str | None, data: dict[str, Any]) -> WorkflowFailedError:
    reason = f"{type(error).__name__}: {error}".removesuffix(": ")
    limited = isinstance(error, GraphRecursionError)
    return WorkflowFailedError(
        f"The step {step!r} failed: {reason}" if step else f"The workflow failed: {reason}",
        remedy="Look for a loop in the graph that never ends."
        if limited
        else f"Mend the cause; then it goes on at that step: nearfar runs resume {data['run_id']}",
        data={**data, "step": step, "type": type(error).__name__},
    )
