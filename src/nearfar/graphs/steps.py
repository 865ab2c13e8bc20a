"""Steps of a graph that are written once and run both ways, sync and async.

A step is a generator: it yields what takes time (``Reply``: ask a model; ``Work``: a function) and
gets the outcome back, or what was raised. Written as coroutines alone, a graph could not be invoked without an event
loop; written as functions alone, a cancelled run would go on in its thread until the model is done.
"""

import asyncio
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableLambda
from langgraph.constants import TAG_NOSTREAM

Update = dict[str, Any]


@dataclass(frozen=True)
class Reply:
    """Ask the model; the outcome is its ``AIMessage``. ``aside`` keeps it out of the stream."""

    model: BaseChatModel
    messages: Sequence[BaseMessage]
    options: dict[str, Any] = field(default_factory=dict)
    aside: bool = False

    @property
    def config(self) -> Any:
        """LangGraph leaves calls with this tag out of the streamed tokens."""
        return {"tags": [TAG_NOSTREAM]} if self.aside else None


@dataclass(frozen=True)
class Work:
    """Call a function that blocks; in an event loop it gets a thread."""

    call: Callable[[], Any]


Waiting = Reply | Work
Step = Callable[[Any], Generator[Waiting, Any, Update]]


def both_ways(name: str, step: Step) -> RunnableLambda[Any, Update]:
    """A node for ``StateGraph.add_node``."""

    def run(state: Any) -> Update:
        steps = step(state)
        try:
            wanted = next(steps)
            while True:
                try:
                    outcome = _wait(wanted)
                except Exception as error:  # noqa: BLE001 - the step's to handle
                    wanted = steps.throw(error)
                else:
                    wanted = steps.send(outcome)
        except StopIteration as done:
            return _update(done)

    async def arun(state: Any) -> Update:
        steps = step(state)
        try:
            wanted = next(steps)
            while True:
                try:
                    outcome = await _await(wanted)
                except Exception as error:  # noqa: BLE001 - the step's to handle
                    wanted = steps.throw(error)
                else:
                    wanted = steps.send(outcome)
        except StopIteration as done:
            return _update(done)

    return RunnableLambda(run, arun, name=name)


def _update(done: StopIteration) -> Update:
    value: Update = done.value
    return value


def _wait(wanted: Waiting) -> Any:
    if isinstance(wanted, Reply):
        return wanted.model.invoke(list(wanted.messages), wanted.config, **wanted.options)
    return wanted.call()


async def _await(wanted: Waiting) -> Any:
    if isinstance(wanted, Reply):
        return await wanted.model.ainvoke(list(wanted.messages), wanted.config, **wanted.options)
    return await asyncio.to_thread(wanted.call)
