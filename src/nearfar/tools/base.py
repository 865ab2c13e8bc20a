"""A LangChain tool with everything around the body: permission, limits, audit, marked output."""

import asyncio
import contextvars
import inspect
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, ToolException
from langgraph.errors import GraphBubbleUp
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nearfar.errors import (
    ApprovalRequiredError,
    NearfarError,
    ToolDeniedError,
    ToolLimitError,
    ToolRefusedError,
    ToolTimeoutError,
)
from nearfar.settings import AuditSettings, Permission, Settings

from .approval import ask
from .audit import Entry, Outcome, record
from .exits import EscapedError, ends_run, exits_contained
from .limits import Limits, arun_within, await_within, cut, cut_mark, run_within, too_large
from .outside import Outside, aonce_each, once_each
from .policy import Policy, policy_for, ruled, with_sources
from .result import Result
from .spotlight import mark_as_data

__all__ = ["Arguments", "GuardedTool", "Outside", "Result", "guarded"]

Body = Callable[..., "Result | str"] | Callable[..., Awaitable["Result | str"]]
Facts = Callable[..., Mapping[str, str]]
Effects = bool | Callable[..., bool]

_MAX_PROBLEMS = 5


class Arguments(BaseModel):
    """Base of the tools' arguments: an unknown argument is an error that the model is told."""

    model_config = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class Guard:
    """What stands around a body."""

    policy: Policy
    limits: Limits
    audit: AuditSettings
    effects: Effects = True  # whether a call does something outside of the conversation
    after_untrusted: Permission = "ask"
    facts: Facts | None = None  # further arguments that permission patterns may speak of
    preview: Callable[..., str] | None = None  # what a person sees before approving
    outside: Outside | None = None


@dataclass
class _Call:
    """One call, from its start to its audit line."""

    call_id: str | None
    started: float = field(default_factory=time.monotonic)
    recorded: bool = False
    refused: str | None = None  # why the arguments are not even looked at


_call: contextvars.ContextVar[_Call | None] = contextvars.ContextVar("tool_call", default=None)


class GuardedTool(BaseTool):
    """Made by ``guarded``. Whatever happens in a call, the model gets a message that it can read.

    Two things are raised instead: what LangGraph uses to stop a run (an interrupt), and
    ApprovalRequiredError where a person must be asked and cannot be.
    """

    body: Body = Field(exclude=True, repr=False)
    guard: Guard = Field(exclude=True, repr=False)

    def run(
        self,
        tool_input: str | dict[str, Any],
        *args: Any,
        tool_call_id: str | None = None,
        **kw: Any,
    ) -> Any:
        """As ``BaseTool.run``; notes when the call began and its id."""
        call = _Call(tool_call_id, refused=too_large(tool_input, self.guard.limits))
        token = _call.set(call)
        given = {} if call.refused else tool_input  # LangChain would write all of it out
        try:
            return super().run(given, *args, tool_call_id=tool_call_id, **kw)
        finally:
            _call.reset(token)

    async def arun(
        self,
        tool_input: str | dict[str, Any],
        *args: Any,
        tool_call_id: str | None = None,
        **kw: Any,
    ) -> Any:
        """As ``run``."""
        call = _Call(tool_call_id, refused=too_large(tool_input, self.guard.limits))
        token = _call.set(call)
        given = {} if call.refused else tool_input  # LangChain would write all of it out
        try:
            return await super().arun(given, *args, tool_call_id=tool_call_id, **kw)
        finally:
            _call.reset(token)

    def _parse_input(
        self, tool_input: str | dict[str, Any], tool_call_id: str | None
    ) -> str | dict[str, Any]:
        """Arguments that are too large or do not fit the schema end here, with their audit line."""
        call = _call.get()
        if call and call.refused:
            self._record("invalid", None, None, None)
            raise ToolException(call.refused)
        try:
            return super()._parse_input(tool_input, tool_call_id)
        except (ToolException, ValidationError) as error:
            self._record("invalid", tool_input, None, None)
            raise ToolException(_explain_arguments(error)) from None
        except (TypeError, ValueError):
            self._record("invalid", None, None, None)
            raise ToolException("The arguments are not an object of the expected form.") from None

    def _run(self, *, config: RunnableConfig, **arguments: Any) -> tuple[str, dict[str, Any]]:
        permission = None
        try:
            arguments, permission = self._permit(arguments, config)
            limit = self.guard.limits.timeout_s
            work = partial(run_within, partial(self._call_body, arguments), limit, self.name)
            with exits_contained():
                result = once_each(self.name, self.guard.outside, arguments, _call_id(), work)
            return self._finish(result, arguments, permission, config)
        except BaseException as error:  # noqa: BLE001  # whatever a tool does, the run lives on
            raise self._failed(error, arguments, permission, config) from None

    async def _arun(
        self, *, config: RunnableConfig, **arguments: Any
    ) -> tuple[str, dict[str, Any]]:
        permission = None
        try:
            # In this thread, and not in the body's: it is quick, and an interrupt needs the context.
            arguments, permission = self._permit(arguments, config)
            work = partial(self._within_limit, arguments)
            outside = self.guard.outside
            with exits_contained():
                result = await aonce_each(self.name, outside, arguments, _call_id(), work)
            return self._finish(result, arguments, permission, config)
        except BaseException as error:  # noqa: BLE001  # whatever a tool does, the run lives on
            raise self._failed(error, arguments, permission, config) from None

    async def _within_limit(self, arguments: dict[str, Any]) -> "Result | str":
        body, limit = self.body, self.guard.limits.timeout_s
        if inspect.iscoroutinefunction(body):
            return await await_within(lambda: body(**arguments), limit, self.name)
        return await arun_within(lambda: self._call_body(arguments), limit, self.name)

    def _call_body(self, arguments: dict[str, Any]) -> "Result | str":
        made = self.body(**arguments)
        return made if isinstance(made, Result | str) else asyncio.run(_awaited(made))

    def _permit(
        self, arguments: dict[str, Any], config: RunnableConfig
    ) -> tuple[dict[str, Any], Permission]:
        """The arguments to use, after permissions and, where they say so, a person have agreed."""
        permission = self._rule(arguments)
        if permission != "ask":
            return arguments, permission
        decision = ask(self.name, arguments, self._describe(arguments), config)
        if decision.type == "edit":
            arguments = self._check_edited(decision.arguments)
        return arguments, permission

    def _rule(self, arguments: dict[str, Any]) -> Permission:
        facts = self.guard.facts(**arguments) if self.guard.facts else {}
        ruling = self.guard.policy.decide(self.name, {**arguments, **facts})
        effects = self.guard.effects
        return ruled(
            self.name,
            ruling,
            self.guard.after_untrusted,
            effects=effects(**arguments) if callable(effects) else effects,
        )

    def _check_edited(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """A person may change the arguments, but not what the rules deny."""
        schema = self.args_schema
        if not (isinstance(schema, type) and issubclass(schema, BaseModel)):
            raise TypeError("args_schema must be a pydantic model")
        if refused := too_large(arguments, self.guard.limits):
            raise ToolException(refused)
        checked = schema.model_validate(arguments)
        plain = {name: getattr(checked, name) for name in schema.model_fields}
        self._rule(plain)
        return plain

    def _describe(self, arguments: dict[str, Any]) -> str:
        """For the person who approves."""
        if self.guard.preview is None:
            return with_sources(self.description.split("\n", 1)[0])
        text, missing = cut(self.guard.preview(**arguments), self.guard.limits.max_output_chars)
        return with_sources(text + (f"\n{cut_mark(missing)}" if missing else ""))

    def _finish(
        self,
        result: "Result | str",
        arguments: dict[str, Any],
        permission: Permission | None,
        config: RunnableConfig,
    ) -> tuple[str, dict[str, Any]]:
        result = Result(result) if isinstance(result, str) else result
        text, missing = cut(result.text, self.guard.limits.max_output_chars)
        if result.source is not None:
            text = mark_as_data(text, result.source)
        if missing:
            text = f"{text}\n{cut_mark(missing)}"
        self._record("ok", arguments, permission, config)
        artifact = {
            "tool": self.name,
            "untrusted": result.source is not None,
            "source": result.source,
            "cut": missing,
            "data": result.data,
        }
        return text, artifact

    def _failed(
        self,
        error: BaseException,
        arguments: dict[str, Any],
        permission: Permission | None,
        config: RunnableConfig,
    ) -> BaseException:
        """What to raise: a message for the model, or what must not be swallowed."""
        if isinstance(error, GraphBubbleUp):  # waits for a person: the call is not over
            return error
        self._record(_outcome(error), arguments, permission, config)
        if ends_run(error) or not isinstance(error, Exception):
            return error
        return ToolException(self._explain(error))

    def _explain(self, error: Exception) -> str:
        """For the model. Texts of others may hold anything, so they are marked as data."""
        limit = self.guard.limits.max_output_chars
        if isinstance(error, ValidationError):
            return _explain_arguments(error)
        if isinstance(error, ToolException):
            return cut(str(error), limit)[0]
        if isinstance(error, NearfarError):
            quoted = error.data.get("quoted")
            said = f"{error.message} {error.remedy}".strip()
            text, missing = cut(str(quoted or ""), limit)
            mark = f"\n{cut_mark(missing)}" if missing else ""
            return f"{said}\n{mark_as_data(text, 'the error')}{mark}" if quoted else said
        said = str(error) if isinstance(error, EscapedError) else f"{type(error).__name__}: {error}"
        text, _ = cut(said, min(limit, 1000))
        return f"{self.name} failed.\n{mark_as_data(text, 'the error')}"

    def _record(
        self,
        outcome: Outcome,
        arguments: Any,
        permission: Permission | None,
        config: RunnableConfig | None,
    ) -> None:
        call = _call.get() or _Call(None)
        if call.recorded:
            return
        call.recorded = True
        if config is None:
            from langchain_core.runnables.config import ensure_config

            config = ensure_config()
        record(
            Entry(
                tool=self.name,
                arguments=arguments,
                outcome=outcome,
                ms=(time.monotonic() - call.started) * 1000,
                permission=permission,
                config=config,
                call_id=call.call_id,
            ),
            self.guard.audit,
        )


def guarded(
    settings: Settings,
    *,
    name: str,
    description: str,
    args: type[Arguments],
    body: Body,
    default: Permission = "ask",
    effects: Effects = True,
    facts: Facts | None = None,
    preview: Callable[..., str] | None = None,
    outside: Outside | None = None,
) -> GuardedTool:
    """Make a tool of ``body``, a function or coroutine function called with the fields of ``args``.

    ``default`` holds where no rule of ``tools.permissions`` fits. ``effects``: whether a call does
    anything outside of the conversation (or a function that says so of a call's arguments); such
    calls are asked about once a model has read untrusted text. ``facts`` gives, for the
    arguments of a call, further texts under further names that rules may match (it is called with
    all of them when the tool is used, and its names come from its attribute ``names``).
    ``preview`` is what a person sees before approving. ``outside`` declares that the body changes
    something outside: then it is never repeated blindly.
    """
    tools = settings.tools
    names = [*args.model_fields, *getattr(facts, "names", ())]
    guard = Guard(
        policy=policy_for(name, tools.permissions, default=default, arguments=names),
        limits=Limits(tools.timeout_s, tools.max_output_chars, tools.max_argument_chars),
        audit=tools.audit,
        effects=effects,
        after_untrusted=tools.after_untrusted,
        facts=facts,
        preview=preview,
        outside=outside,
    )
    return GuardedTool(
        name=name,
        description=description,
        args_schema=args,
        response_format="content_and_artifact",
        handle_tool_error=True,
        body=body,
        guard=guard,
    )


def _call_id() -> str | None:
    call = _call.get()
    return call.call_id if call else None


async def _awaited(work: Awaitable[Result | str]) -> Result | str:
    return await work


def _outcome(error: BaseException) -> Outcome:
    if isinstance(error, ToolDeniedError):
        return "rejected" if error.data.get("by") == "person" else "denied"
    for kind, outcome in _OUTCOMES:
        if isinstance(error, kind):
            return outcome
    return "error" if isinstance(error, Exception) else "cancelled"


_OUTCOMES: tuple[tuple[type[BaseException], Outcome], ...] = (
    (ApprovalRequiredError, "unapproved"),
    (ToolTimeoutError, "timeout"),
    (ToolLimitError, "refused"),
    (ToolRefusedError, "refused"),
    (ValidationError, "invalid"),
)


def _explain_arguments(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    problems = [
        f"{'.'.join(map(str, problem['loc'])) or 'arguments'}: {problem['msg']}"
        for problem in error.errors(include_url=False, include_input=False, include_context=False)
    ]
    more = len(problems) - _MAX_PROBLEMS
    shown = "; ".join(problems[:_MAX_PROBLEMS]) + (f"; and {more} more" if more > 0 else "")
    return f"The arguments do not fit: {shown}."
