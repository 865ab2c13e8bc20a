"""Graphs whose steps write down, in the file KILL_LOG, that they began; in a process that may be killed."""

import asyncio
import operator
import os
import signal
from pathlib import Path
from typing import Annotated, Any, TypedDict

from langgraph.config import get_config
from langgraph.graph import END, START, StateGraph
from langgraph.types import RetryPolicy, Send, interrupt


class State(TypedDict, total=False):
    number: int
    trail: Annotated[list[str], operator.add]
    answer: str


def log(line: str) -> None:
    """One write, which the kernel keeps when the process dies."""
    descriptor = os.open(os.environ["KILL_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{line}\n".encode())
    os.close(descriptor)


def began() -> None:
    config = get_config()
    task = config["metadata"]["langgraph_checkpoint_ns"].rpartition(":")[2]
    log(f"began {config['configurable']['thread_id']} {task}")


def step(name: str) -> Any:
    async def work(state: State) -> dict[str, Any]:
        began()
        await asyncio.sleep(0.002)
        return {"trail": [name]}

    work.__name__ = name
    return work


def chain(*names: str, state: Any = State) -> StateGraph[Any, Any, Any, Any]:
    builder = StateGraph(state)
    for before, name in zip((START, *names), names, strict=False):
        builder.add_node(name, step(name))
        builder.add_edge(before, name)
    builder.add_edge(names[-1], END)
    return builder


def ask(state: State) -> dict[str, Any]:
    began()
    first = interrupt("first?")
    return {"answer": f"{first}+{interrupt('second?')}", "trail": ["ask"]}


def flaky(state: State) -> dict[str, Any]:
    """Fails on its first try in every process that it is tried in."""
    began()
    tried = Path(os.environ["KILL_LOG"] + f".{os.getpid()}")
    if not tried.exists():
        tried.touch()
        raise ConnectionError("not yet")
    return {"trail": ["flaky"]}


async def deadly(state: State) -> dict[str, Any]:
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


linear = chain("a", "b", "c", "d", "e", "f")

fan_out = StateGraph(State)
fan_out.add_node("split", step("split"))
fan_out.add_node("leaf", step("leaf"))
fan_out.add_node("join", step("join"))
fan_out.add_edge(START, "split")
fan_out.add_conditional_edges(
    "split", lambda state: [Send("leaf", state) for _ in range(8)], ["leaf"]
)
fan_out.add_edge("leaf", "join")

subgraph = chain("a")
subgraph.add_node("inner", chain("x", "y").compile())
subgraph.add_node("z", step("z"))
subgraph.add_edge("a", "inner")
subgraph.add_edge("inner", "z")

asks = chain("a")
asks.add_node("ask", ask)
asks.add_node("z", step("z"))
asks.add_edge("a", "ask")
asks.add_edge("ask", "z")

retries = chain("a")
retries.add_node("flaky", flaky, retry_policy=RetryPolicy(initial_interval=0.001, jitter=False))
retries.add_node("z", step("z"))
retries.add_edge("a", "flaky")
retries.add_edge("flaky", "z")


class Talk(TypedDict, total=False):
    writer: str
    said: Annotated[list[str], operator.add]


async def say(state: Talk) -> dict[str, Any]:
    """What was said, with how much was said before."""
    before = len(state["said"])
    await asyncio.sleep(0.001)
    return {"said": [f"{state['writer']}:{before}"]}


async def stall(state: Talk) -> dict[str, Any]:
    """Tell that it is here, and wait to be let go."""
    folder = Path(os.environ["KILL_LOG"]).parent
    (folder / "held").touch()
    while not (folder / "go").exists():  # noqa: ASYNC110 - another process lets it go
        await asyncio.sleep(0.01)
    return {"said": [str(os.getpid())]}


talk = StateGraph(Talk).add_node(say).add_edge(START, "say")
held = StateGraph(Talk).add_node(stall).add_node(say).add_edge(START, "stall")
held.add_edge("stall", "say")

dies = chain("a")
dies.add_node("deadly", deadly)
dies.add_edge("a", "deadly")

stops = chain("a", "b", "c").compile(interrupt_before=["b"], interrupt_after=["b"])

TRAILS = {
    "linear": ["a", "b", "c", "d", "e", "f"],
    "fan_out": ["split", *["leaf"] * 8, "join"],
    "subgraph": ["a", "a", "x", "y", "z"],  # the inner graph gives back what it was given
    "asks": ["a", "ask", "z"],
    "retries": ["a", "flaky", "z"],
    "stops": ["a", "b", "c"],
}
