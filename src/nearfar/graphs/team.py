"""What the predefined workflows with several roles have in common: who asked the model what."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import RunnableLambda
from typing_extensions import TypedDict

from nearfar.agents.crew.recording import ROLE, TASK, Recorder, failing, performance, prompts
from nearfar.agents.crew.state import Call
from nearfar.llm.steps import Invoke, Step, Steps, Update, both_ways
from nearfar.prompts import library
from nearfar.settings import Settings

__all__ = ["Did", "Said", "Team", "ask_as", "call_as", "did", "duty", "report_of"]


class Did(TypedDict):
    """What became of a task."""

    role: str
    ok: bool
    attempts: int


class Team:
    """The roles of a workflow: one model, made when it is first needed, and the library of prompts."""

    def __init__(self, model: BaseChatModel | str | None, settings: Settings) -> None:
        self._chosen = model
        self._settings = settings
        self._prompts = library(settings)

    @property
    def model(self) -> BaseChatModel:
        """The one that was given, or the one of that name."""
        if not isinstance(self._chosen, BaseChatModel):
            from nearfar.llm import chat_model

            self._chosen = chat_model(self._chosen, settings=self._settings)
        return self._chosen


@dataclass(frozen=True)
class Said:
    """A reply, and how it came about."""

    reply: Any
    calls: list[Call]

    @property
    def text(self) -> str:
        """The reply's text."""
        return str(self.reply.text).strip() if isinstance(self.reply, AIMessage) else ""


def ask_as(
    role: str,
    task: str,
    model: BaseChatModel,
    messages: Sequence[BaseMessage],
    **options: Any,
) -> Steps:
    """A generator that asks the model and returns ``Said``."""
    return (yield from call_as(role, task, model, list(messages), **options))


def call_as(role: str, task: str, runnable: Any, given: Any, **options: Any) -> Steps:
    """A generator that runs anything (a graph, a tool) and returns ``Said``."""
    recorder = Recorder()
    reply = yield Invoke(
        runnable,
        given,
        callbacks=[recorder],
        metadata={TASK: task, ROLE: role},
        options=options,
    )
    return Said(reply, recorder.calls)


def did(task: str, role: str, *, ok: bool = True, attempts: int = 1) -> dict[str, Did]:
    """For the channel ``did``: who did a task, whether it came out, and how often it was tried."""
    return {task: Did(role=role, ok=ok, attempts=max(1, attempts))}


def duty(
    name: str, role: str, step: Step, *, calls_are_tries: bool = False
) -> RunnableLambda[Any, Update]:
    """A node of a role; what it raises has the ``performance`` until then, as in a crew.

    The task has the node's name, or the one in the state. With ``calls_are_tries`` each call of a
    model is an attempt; without, the state's ``did`` knows of those before this one.
    """

    def watched(state: Any) -> Steps:
        recorder = Recorder()
        doing, done = state.get("task", name), state.get("did") or {}
        recorder.attempts = done[doing]["attempts"] + 1 if doing in done else 1
        with failing(recorder, doing, role, state.get("calls") or [], lambda: done):
            try:
                return (yield from _heard(step(state), recorder))
            finally:
                if calls_are_tries:
                    recorder.attempts = max(1, len(recorder.calls))

    return both_ways(name, watched)


def _heard(steps: Steps, recorder: Recorder) -> Steps:
    """The same steps; the recorder hears what models are asked."""
    try:
        wanted = next(steps)
        while True:
            if isinstance(wanted, Invoke):
                wanted = replace(wanted, callbacks=[*wanted.callbacks, recorder])
            try:
                outcome = yield wanted
            except Exception as error:  # noqa: BLE001  (the step's to handle)
                wanted = steps.throw(error)
            else:
                wanted = steps.send(outcome)
    except StopIteration as done:
        return done.value


def report_of(state: Any) -> dict[str, Any]:
    """``performance`` and ``prompts`` for a workflow's output, of its ``calls`` and what each did."""
    calls = state.get("calls") or []
    return {
        "performance": performance(calls, state.get("did") or {}),
        "prompts": prompts(calls) if state.get("show_prompts", False) else [],
    }
