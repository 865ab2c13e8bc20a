"""An assistant with a tool of one's own, a memory, and a person who approves.

    python examples/assistant.py

It runs on the model that comes with Nearfar, without a key and without a network.
"""

from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from nearfar.agents import Memory, MemoryStore, create_assistant

SENT: list[str] = []


@tool
def send_letter(to: str) -> str:
    """Send a letter to a person."""
    SENT.append(to)
    return f"The letter to {to} is sent."


def build(model: BaseChatModel | None = None) -> Any:
    """The assistant, with any chat model; without one, the configured one."""
    return create_assistant(model, ["calculator", send_letter], checkpointer=InMemorySaver())


def ask(assistant: Any, question: str, *, approve: bool, thread: str = "example") -> str:
    """The answer; calls that need a person's approval get the same decision each."""
    config = {"configurable": {"thread_id": thread, "user_id": "ada"}}
    result = assistant.invoke({"question": question}, config)
    decision = {"decisions": [{"type": "approve" if approve else "reject"}]}
    while "__interrupt__" in result:
        for pause in result["__interrupt__"]:
            print("asks to be allowed:", pause.value["action_requests"][0])
        answers = {pause.id: decision for pause in result["__interrupt__"]}
        result = assistant.invoke(Command(resume=answers), config)
    return str(result["answer"])


def main() -> None:
    """Ask for a sum; remember something about the user."""
    print(ask(build(), "What is 12 * 7?", approve=True))
    memory = Memory(MemoryStore(), user="ada")
    kept = memory.remember("Ada does not eat meat.")
    print(memory.search("Is she a vegetarian?")[0].text)
    memory.forget(kept.id)


if __name__ == "__main__":
    main()
