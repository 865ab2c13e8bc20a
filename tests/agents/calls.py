"""What the tests of agents say in a scripted model's place."""

from typing import Any

from langchain_core.messages import AIMessage


def calls(*wanted: tuple[str, dict[str, Any]], text: str = "") -> AIMessage:
    """A reply that calls tools; ids are counted per reply, with the names in them."""
    return AIMessage(
        text,
        tool_calls=[
            {"name": name, "args": args, "id": f"{name}-{n}-{id(wanted)}", "type": "tool_call"}
            for n, (name, args) in enumerate(wanted)
        ],
    )


def add(expression: str = "1 + 1") -> AIMessage:
    """A reply that calls the calculator."""
    return calls(("calculator", {"expression": expression}))
