"""A graph whose first step works near and whose second must have a far model."""

import operator
from typing import Annotated, Any, TypedDict

from langgraph.graph import START, StateGraph
from langgraph.types import RetryPolicy

import nearfar
from nearfar.graphs.runtime.parking import cloud_required
from nearfar.settings import Settings


class State(TypedDict, total=False):
    told: Annotated[list[str], operator.add]


def make(settings: Settings) -> Any:
    model = nearfar.chat_model(settings=settings)

    def near(state: State) -> dict[str, Any]:
        return {"told": ["near"]}

    @cloud_required
    async def far(state: State) -> dict[str, Any]:
        return {"told": [str((await model.ainvoke("hello")).text)]}

    retry = RetryPolicy(initial_interval=0, jitter=False, max_attempts=2, retry_on=Exception)
    builder = StateGraph(State).add_node(near).add_node("far", far, retry_policy=retry)
    return builder.add_edge(START, "near").add_edge("near", "far").compile()
