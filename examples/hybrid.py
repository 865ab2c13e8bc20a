"""Partly local, partly cloud: the answer is found on this machine, and worded in the cloud if it may.

    python examples/hybrid.py [--config nearfar.yaml] [--docs FOLDER] [LETTER ...]

The workflow ``ask`` finds the sentence that answers a letter, near. A cloud model then makes a friendly
reply of both; a letter with personal data never goes there, and the sentence itself is the reply.
Without a configuration the cloud is played by a server on this machine: no key, no network.
"""

import argparse
import asyncio
import operator
import tempfile
from pathlib import Path
from typing import Annotated, Any, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.types import Send

import nearfar
from nearfar.errors import NoCandidateError
from nearfar.settings import Settings
from nearfar.testing.fault_server import FaultServer, Reply

LETTERS = [
    "How long can a kettle be returned?",
    "I am at +44 20 7946 0958 and ada@example.org. When are invoices sent?",
]
HANDBOOK = """# Returns
A kettle can be returned within two years, with or without its box.

# Invoices
Invoices are sent on the first working day of each month.
"""


class Letters(TypedDict):
    """What a run is given, and what it gives."""

    letters: list[str]
    docs: list[str]
    replies: Annotated[list[dict[str, Any]], operator.add]


class Letter(TypedDict):
    """What one branch is given."""

    letter: str
    docs: list[str]


def build(settings: Settings) -> StateGraph[Letters]:
    """Every letter in a branch of its own."""
    near = nearfar.workflow("ask", settings=settings)
    far = nearfar.chat_model("wording", settings=settings)

    async def answer(state: Letter) -> dict[str, Any]:
        found = await near.ainvoke({"question": state["letter"], "docs": state["docs"]})
        sentence = found["answer"]
        prompt = f"Reply to the letter in a friendly way.\n\n{state['letter']}\n\n{sentence}"
        try:
            reply, by = (await far.ainvoke(prompt)).text, "cloud"
        except NoCandidateError as refused:
            reply, by = sentence, f"near ({refused.message})"
        return {"replies": [{"letter": state["letter"], "reply": reply, "worded by": by}]}

    def each(state: Letters) -> list[Send]:
        return [Send("answer", {"letter": x, "docs": state["docs"]}) for x in state["letters"]]

    graph = StateGraph(Letters)
    graph.add_node("answer", answer)
    graph.add_conditional_edges(START, each, ["answer"])
    graph.add_edge("answer", END)
    return graph


def settings_for(server: FaultServer) -> Settings:
    """One cloud model for the wording, and what it must never see."""
    cloud = {"provider": "openai-compatible", "base_url": server.openai_url, "model": "cloud"}
    return Settings.model_validate(
        {
            "models": {"default": {"provider": "local"}, "cloud": cloud},
            "routers": {"wording": {"candidates": ["cloud"]}},
            "privacy": {"keep_near": ["pii", "secret"]},
        }
    )


def replies(letters: list[str], docs: str, settings: Settings) -> list[dict[str, Any]]:
    """The replies, in the letters' order."""
    graph = build(settings).compile()
    given: Letters = {"letters": letters, "docs": [docs], "replies": []}
    found: list[dict[str, Any]] = asyncio.run(graph.ainvoke(given))["replies"]
    return found


def main() -> None:
    """Reply, and say who worded it."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("letters", nargs="*", default=LETTERS)
    arguments.add_argument("--docs", help="a folder; without it a handbook of four lines")
    arguments.add_argument("--config", help="a nearfar.yaml with a router `wording`")
    given = arguments.parse_args()
    kind = Reply("Thank you for your letter! You have two years to bring it back.")
    with tempfile.TemporaryDirectory() as folder, FaultServer(default=kind) as server:
        Path(folder, "handbook.md").write_text(HANDBOOK, encoding="utf-8")
        settings = nearfar.load_settings(given.config) if given.config else settings_for(server)
        for line in replies(given.letters, given.docs or folder, settings):
            print(f"{line['letter']}\n  {line['reply']}\n  worded by: {line['worded by']}")


if __name__ == "__main__":
    main()
