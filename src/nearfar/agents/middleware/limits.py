"""Bounds of one run: steps, tool calls, calls at once, depth of delegation, seconds and money.

A run is what follows one message of the user, also across interrupts and restarts. An agent that a
tool of another one calls has its own limits, and all it does counts against those above it too, so
that agents which call agents cannot multiply what each may do.
"""

import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Any, Literal, NotRequired

from langchain.agents.middleware import AgentState, ModelRequest
from langchain.agents.middleware.types import (
    ExtendedModelResponse,
    ModelResponse,
    OmitFromSchema,
    PrivateStateAttr,
)
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.prebuilt.tool_node import ToolCallRequest
from langgraph.types import Command
from typing_extensions import TypedDict

from nearfar.errors import AgentLimitError
from nearfar.tools.limits import size_of

from ._around import AroundModel, AroundTool, OutOfTime, Steps, Within, reply_of
from ._cost import cost_of

LimitName = Literal[
    "steps", "tool_calls", "calls_at_once", "depth", "time_s", "usd", "argument_chars"
]
STOPPED = "limit"
"""The ``finish_reason`` of an answer that a limit gave in the model's place."""
_KEPT = 1024  # runs of one agent that are remembered while they go on
_WORDS: dict[LimitName, str] = {
    "steps": "{allowed} calls of the model",
    "tool_calls": "{allowed} calls of tools",
    "calls_at_once": "{allowed} calls of tools at once",
    "depth": "agents that call each other {allowed} deep",
    "time_s": "{allowed:g} seconds",
    "usd": "{allowed:g} USD",
    "argument_chars": "{allowed:,} characters of arguments at once",
}


class Stopped(TypedDict):
    """Why a run ended before its work was done."""

    limit: LimitName
    allowed: float
    reached: float


class LimitsState(AgentState[Any]):
    """What the limits keep with the thread."""

    run_so_far: NotRequired[Annotated[dict[str, Any], PrivateStateAttr]]
    stopped: NotRequired[Annotated[Stopped | None, OmitFromSchema(input=True, output=False)]]


@dataclass(frozen=True, slots=True)
class Limits:
    """``usd`` and ``time_s`` None: no limit."""

    steps: int = 25
    tool_calls: int = 50
    calls_at_once: int = 16
    depth: int = 3
    time_s: float | None = 600.0
    usd: Decimal | None = None
    argument_chars: int = 1_000_000


@dataclass
class _Tally:
    """What one run has used; shared by everything of the run that happens in this process."""

    limits: Limits
    run: str  # a number of its own: messages of other threads may have the same ids
    asked: str
    steps: int = 0
    tool_calls: int = 0
    usd: Decimal = Decimal(0)
    seconds: float = 0.0  # at work: waiting for a person does not count
    clock: Callable[[], float] = time.monotonic
    at_work: int = 0
    since: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self) -> None:
        with self.lock:
            if not self.at_work:
                self.since = self.clock()
            self.at_work += 1

    def end(self) -> None:
        with self.lock:
            self.at_work -= 1
            if not self.at_work:
                self.seconds += self.clock() - self.since

    def elapsed(self) -> float:
        with self.lock:
            return self.seconds + (self.clock() - self.since if self.at_work else 0.0)

    def to_state(self) -> dict[str, Any]:
        return {
            "run": self.run,
            "asked": self.asked,
            "steps": self.steps,
            "tool_calls": self.tool_calls,
            "usd": str(self.usd),
            "seconds": round(self.elapsed(), 3),
        }

    def over(self, *, steps: int = 0, tool_calls: int = 0) -> Stopped | None:
        """What would be over its limit with so many more."""
        limits = self.limits
        counted: list[tuple[LimitName, float, float | None]] = [
            ("steps", self.steps + steps, limits.steps),
            ("tool_calls", self.tool_calls + tool_calls, limits.tool_calls),
        ]
        for name, reached, allowed in counted:
            if allowed is not None and reached > allowed:
                return Stopped(limit=name, allowed=allowed, reached=reached)
        if limits.time_s is not None and (seconds := self.elapsed()) >= limits.time_s:
            return Stopped(limit="time_s", allowed=limits.time_s, reached=round(seconds, 1))
        if limits.usd is not None and self.usd >= limits.usd:
            return Stopped(limit="usd", allowed=float(limits.usd), reached=float(self.usd))
        return None


_counting = threading.Lock()
_above: ContextVar[tuple[_Tally, ...]] = ContextVar("nearfar_agents_above", default=())


class LimitsMiddleware(AroundModel, AroundTool):
    """Ends a run that comes to a limit.

    ``on_limit`` "error" raises AgentLimitError, and a thread that is kept holds what was done until
    then; "end" gives an answer that says so (and ``stopped`` in the state). ``usd`` is what replies have cost so far, looked at before each call, so one
    call may go over it; a budget (BudgetMiddleware) reserves before. A model call that is awaited
    is cancelled when the seconds are over; one that is not ends first.
    """

    state_schema = LimitsState

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        on_limit: Literal["end", "error"] = "error",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self.limits = limits or Limits()
        self.on_limit = on_limit
        self._clock = clock
        self._runs: OrderedDict[str, _Tally] = OrderedDict()
        self._lock = threading.Lock()

    def around_model(self, request: ModelRequest[Any]) -> Steps:
        """One step; its calls are counted when they are asked for, before any is made."""
        tally = self._tally(request.state)
        chain = (*_above.get(), tally)
        stop = _too_deep(chain) or _counted(chain, steps=1)
        if stop:
            return self._stop(stop, tally)
        for one in chain:
            one.begin()
        try:
            response: ModelResponse[Any] = yield _within(request, chain)
        except OutOfTime:
            return self._stop(_first_over(chain) or _out_of_time(tally), tally)
        finally:
            for one in chain:
                one.end()
        reply = reply_of(response)
        if reply is not None:
            _pay(chain, reply)
            calls = len(reply.tool_calls)
            stop = _too_much(chain, reply) or (_counted(chain, tool_calls=calls) if calls else None)
            if stop:
                return self._stop(stop, tally)
        return self._with(response, tally, None)

    def around_tool(self, request: ToolCallRequest) -> Steps:
        """What agents below a tool do counts for this one's run."""
        tally = self._tally(request.state)
        chain = (*_above.get(), tally)
        if stop := _first_over(chain):
            return _not_called(request, stop)
        token = _above.set(chain)
        for one in chain:
            one.begin()
        try:
            return (yield _within(request, chain))
        except OutOfTime:
            return _not_called(request, _first_over(chain) or _out_of_time(tally))
        finally:
            for one in chain:
                one.end()
            _above.reset(token)

    def _tally(self, state: Any) -> _Tally:
        """The run's: the one of this process, else what the thread remembers, else a new one."""
        asked = _asked(state)
        kept: Mapping[str, Any] = state.get("run_so_far") or {}
        if kept.get("asked") != asked:  # nothing was done yet for what the user says now
            return _Tally(self.limits, uuid.uuid4().hex, asked, clock=self._clock)
        with self._lock:
            tally = self._runs.get(kept["run"])
            if tally is None:
                tally = _Tally(self.limits, kept["run"], asked, clock=self._clock)
                tally.steps, tally.tool_calls = kept["steps"], kept["tool_calls"]
                tally.usd, tally.seconds = Decimal(kept["usd"]), kept["seconds"]
                self._keep(tally)
            self._runs.move_to_end(tally.run)
            return tally

    def _keep(self, tally: _Tally) -> None:
        self._runs[tally.run] = tally
        if len(self._runs) > _KEPT:
            self._runs.popitem(last=False)

    def _with(
        self, response: ModelResponse[Any], tally: _Tally, stop: Stopped | None
    ) -> ExtendedModelResponse[Any]:
        with self._lock:
            self._keep(tally)
        update = {"run_so_far": tally.to_state(), "stopped": stop}
        return ExtendedModelResponse(response, Command(update=update))

    def _stop(self, stop: Stopped, tally: _Tally) -> ExtendedModelResponse[Any]:
        limit = _told(stop)
        if self.on_limit == "error":
            raise AgentLimitError(f"The run was stopped: its limit is {limit}.", data=dict(stop))
        metadata = {"finish_reason": STOPPED, "provider": "nearfar"}
        text = f"I stopped here: the limit of this run is {limit}."
        answer = AIMessage(text, response_metadata=metadata)
        return self._with(ModelResponse(result=[answer]), tally, stop)


def _asked(state: Any) -> str:
    """The user's latest message: with the next one a new run begins."""
    messages = state.get("messages") or []
    last = next((m for m in reversed(messages) if isinstance(m, HumanMessage)), None)
    return str(last.id) if last is not None else ""


def _within(request: Any, chain: tuple[_Tally, ...]) -> Any:
    left = [one.limits.time_s - one.elapsed() for one in chain if one.limits.time_s is not None]
    return Within(request, max(0.0, min(left))) if left else request


def _counted(chain: tuple[_Tally, ...], steps: int = 0, tool_calls: int = 0) -> Stopped | None:
    """Count so many more, unless that is too many: then nothing is counted.

    Agents below the same one work at the same time, so looking and counting are one.
    """
    with _counting:
        stop = _first_over(chain, steps=steps, tool_calls=tool_calls)
        if stop is None:
            for one in chain:
                one.steps += steps
                one.tool_calls += tool_calls
        return stop


def _first_over(chain: tuple[_Tally, ...], **more: int) -> Stopped | None:
    return next((stop for one in chain if (stop := one.over(**more))), None)


def _too_deep(chain: tuple[_Tally, ...]) -> Stopped | None:
    for place, one in enumerate(chain):
        below = len(chain) - 1 - place
        if below > one.limits.depth:
            return Stopped(limit="depth", allowed=one.limits.depth, reached=below)
    return None


def _too_much(chain: tuple[_Tally, ...], reply: AIMessage) -> Stopped | None:
    """What one reply asks for, before any of it is kept or done."""
    limits, calls = chain[-1].limits, len(reply.tool_calls)
    if calls > limits.calls_at_once:
        return Stopped(limit="calls_at_once", allowed=limits.calls_at_once, reached=calls)
    given = [call["args"] for call in [*reply.tool_calls, *reply.invalid_tool_calls]]
    size = size_of(given, limits.argument_chars)
    if size > limits.argument_chars:
        return Stopped(limit="argument_chars", allowed=limits.argument_chars, reached=size)
    return None


def _told(stop: Stopped) -> str:
    return _WORDS[stop["limit"]].format(allowed=stop["allowed"])


def _out_of_time(tally: _Tally) -> Stopped:
    allowed = tally.limits.time_s or 0.0
    return Stopped(limit="time_s", allowed=allowed, reached=round(tally.elapsed(), 1))


def _pay(chain: tuple[_Tally, ...], reply: AIMessage) -> None:
    if any(one.limits.usd is not None for one in chain):
        cost = cost_of(reply)
        for one in chain:
            one.usd += cost


def _not_called(request: ToolCallRequest, stop: Stopped) -> ToolMessage:
    return ToolMessage(
        f"This call was stopped: the limit of the run is {_told(stop)}.",
        tool_call_id=request.tool_call["id"],
        name=request.tool_call["name"],
        status="error",
    )
