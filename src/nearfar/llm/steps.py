"""Steps of a graph that are written once and run both ways, sync and async.

A step is a generator: it yields what takes time (``Reply``: ask a model; ``Work``: a function) and
gets the outcome back, or what was raised. Written as coroutines alone, a graph could not be invoked without an event
loop; written as functions alone, a cancelled run would go on in its thread until the model is done.
"""

import asyncio
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda
from langchain_core.runnables.config import ensure_config, merge_configs
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


@dataclass(frozen=True)
class Invoke:
    """Run anything that LangChain can run. What the node was called with stays in force.

    ``callbacks``, ``metadata`` and ``tags`` are added to it; so a checkpointer, a budget and who
    listens reach the agents inside.
    """

    runnable: Runnable[Any, Any]
    given: Any
    callbacks: Sequence[BaseCallbackHandler] = ()
    metadata: dict[str, Any] = field(default_factory=dict)
    tags: Sequence[str] = ()
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def config(self) -> RunnableConfig:
        """The running node's, with what is added."""
        own = RunnableConfig(
            callbacks=list(self.callbacks), metadata=self.metadata, tags=list(self.tags)
        )
        return merge_configs(ensure_config(), own)


Waiting = Reply | Work | Invoke
Steps = Generator[Waiting, Any, Any]
Step = Callable[[Any], Steps]


def both_ways(name: str, step: Step) -> RunnableLambda[Any, Update]:
    """A node for ``StateGraph.add_node``."""

    def run(state: Any) -> Update:
        update: Update = finish(step(state))
        return update

    async def arun(state: Any) -> Update:
        update: Update = await afinish(step(state))
        return update

    return RunnableLambda(run, arun, name=name)


def finish(steps: Steps) -> Any:
    """Take the steps one after the other; what the generator returns."""
    try:
        wanted = next(steps)
        while True:
            try:
                outcome = _wait(wanted)
            except Exception as error:  # noqa: BLE001  (the step's to handle)
                wanted = steps.throw(error)
            else:
                wanted = steps.send(outcome)
    except StopIteration as done:
        return done.value


async def afinish(steps: Steps) -> Any:
    """As ``finish``, in an event loop."""
    try:
        wanted = next(steps)
        while True:
            try:
                outcome = await _await(wanted)
            except Exception as error:  # noqa: BLE001  (the step's to handle)
                wanted = steps.throw(error)
            else:
                wanted = steps.send(outcome)
    except StopIteration as done:
        return done.value


def _wait(wanted: Waiting) -> Any:
    if isinstance(wanted, Reply):
        return wanted.model.invoke(list(wanted.messages), wanted.config, **wanted.options)
    if isinstance(wanted, Invoke):
        return wanted.runnable.invoke(wanted.given, wanted.config, **wanted.options)
    return wanted.call()


async def _await(wanted: Waiting) -> Any:
    if isinstance(wanted, Reply):
        return await wanted.model.ainvoke(list(wanted.messages), wanted.config, **wanted.options)
    if isinstance(wanted, Invoke):
        return await wanted.runnable.ainvoke(wanted.given, wanted.config, **wanted.options)
    return await asyncio.to_thread(wanted.call)
