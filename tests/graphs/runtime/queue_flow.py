"""Graphs for many machines: they write down, in the file KILL_LOG, what was done where."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any, TypedDict

from langgraph.graph import START, StateGraph

from .kill_flow import log


class Job(TypedDict, total=False):
    number: int
    done: str


def _one(step: Any) -> Any:
    return StateGraph(Job).add_node("step", step).add_edge(START, "step").compile()


async def _quick(state: Job) -> dict[str, Any]:
    log(f"did {state['number']} {os.getpid()}")
    return {"done": "yes"}


async def _slow(state: Job) -> dict[str, Any]:
    log(f"began {state['number']} {os.getpid()}")
    folder = Path(os.environ["KILL_LOG"]).parent
    while not (folder / "go").exists():  # noqa: ASYNC110 - another process lets it go
        await asyncio.sleep(0.02)
    log(f"did {state['number']} {os.getpid()}")
    return {"done": "yes"}


async def _poison(state: Job) -> dict[str, Any]:
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


quick, slow, poison = _one(_quick), _one(_slow), _one(_poison)
