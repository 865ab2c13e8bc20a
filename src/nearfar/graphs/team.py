"""What the predefined workflows with several roles have in common: who asked the model what."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage

from nearfar.agents.crew.recording import ROLE, TASK, Recorder, performance, prompts
from nearfar.agents.crew.state import Call
from nearfar.llm.steps import Invoke, Steps

__all__ = ["Said", "ask_as", "call_as", "report_of"]


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


def report_of(calls: list[Call], tasks: dict[str, str], *, show: bool) -> dict[str, Any]:
    """``performance`` and ``prompts`` for a workflow's output; ``tasks`` says who did each."""
    done = {
        name: {
            "role": role,
            "ok": True,
            "attempts": 1,
        }
        for name, role in tasks.items()
    }
    return {
        "performance": performance(calls, done),
        "prompts": prompts(calls) if show else [],
    }
