"""Middleware that is written once and works in sync and async agents.

A hook is a generator: it yields the request to send on (or ``Within``: for so many seconds at most;
``Wait``: something else to await), gets the outcome back, and returns what the agent goes on with.
What the handler raises is raised at the ``yield``.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator
from dataclasses import dataclass
from typing import Any

from langchain.agents.middleware import AgentMiddleware, ModelRequest
from langchain.agents.middleware.types import ModelResponse
from langchain_core.messages import AIMessage
from langgraph.prebuilt.tool_node import ToolCallRequest

Steps = Generator[Any, Any, Any]


@dataclass(frozen=True, slots=True)
class Within:
    """Send the request on; after ``seconds`` it is given up with OutOfTime.

    Only where it is awaited: a thread cannot be stopped from outside.
    """

    request: Any
    seconds: float


@dataclass(frozen=True, slots=True)
class Wait:
    """Await what ``work`` gives."""

    work: Callable[[], Coroutine[Any, Any, Any]]


class OutOfTime(Exception):  # noqa: N818  (control flow)
    """The seconds of a ``Within`` are over."""


class AroundModel(AgentMiddleware[Any, Any, Any]):
    """Subclasses write ``around_model``."""

    def around_model(self, request: ModelRequest[Any]) -> Steps:
        """Yield requests, return a response."""
        raise NotImplementedError

    def wrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], ModelResponse[Any]],
    ) -> Any:
        """LangChain's hook."""
        return _drive(self.around_model(request), handler)

    async def awrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> Any:
        """LangChain's hook."""
        return await _adrive(self.around_model(request), handler)


class AroundTool(AgentMiddleware[Any, Any, Any]):
    """Subclasses write ``around_tool``."""

    def around_tool(self, request: ToolCallRequest) -> Steps:
        """Yield requests, return a ToolMessage or a Command."""
        raise NotImplementedError

    def wrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Any]
    ) -> Any:
        """LangChain's hook."""
        return _drive(self.around_tool(request), handler)

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[Any]]
    ) -> Any:
        """LangChain's hook."""
        return await _adrive(self.around_tool(request), handler)


def _drive(steps: Steps, handler: Callable[[Any], Any]) -> Any:
    try:
        wanted = next(steps)
        while True:
            try:
                outcome = _get(wanted, handler)
            except BaseException as error:  # noqa: BLE001  # the generator decides
                wanted = steps.throw(error)
            else:
                wanted = steps.send(outcome)
    except StopIteration as done:
        return done.value
    finally:
        steps.close()


def _get(wanted: Any, handler: Callable[[Any], Any]) -> Any:
    if isinstance(wanted, Wait):
        from nearfar.llm.portal import portal

        return portal.call(wanted.work())
    return handler(wanted.request if isinstance(wanted, Within) else wanted)


async def _adrive(steps: Steps, handler: Callable[[Any], Awaitable[Any]]) -> Any:
    try:
        wanted = next(steps)
        while True:
            try:
                outcome = await _aget(wanted, handler)
            except BaseException as error:  # noqa: BLE001  # the generator decides
                wanted = steps.throw(error)
            else:
                wanted = steps.send(outcome)
    except StopIteration as done:
        return done.value
    finally:
        steps.close()


async def _aget(wanted: Any, handler: Callable[[Any], Awaitable[Any]]) -> Any:
    if isinstance(wanted, Wait):
        return await wanted.work()
    if not isinstance(wanted, Within):
        return await handler(wanted)
    try:
        async with asyncio.timeout(wanted.seconds) as limit:
            return await handler(wanted.request)
    except TimeoutError:
        if limit.expired():
            raise OutOfTime from None
        raise


def reply_of(response: ModelResponse[Any]) -> AIMessage | None:
    """The model's message in a response."""
    return next((m for m in response.result if isinstance(m, AIMessage)), None)
