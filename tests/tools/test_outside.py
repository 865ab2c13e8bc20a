"""Tools that declare an outside effect are called once for each call of the model."""

from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import RetryPolicy

from nearfar.errors import FetchError, ToolFailedError, ToolRefusedError, UrlRefusedError
from nearfar.settings import Settings
from nearfar.storage.effects.once import NeedsReconcile
from nearfar.tools import Arguments, guarded, tool
from nearfar.tools.outside import Outside, nothing_was_done

THREAD: Any = {"configurable": {"thread_id": "t"}}


class To(Arguments):
    """One argument."""

    to: str


def run(made: Any, args: dict[str, Any], *, fail_first: bool = True) -> Any:
    tries: list[int] = []
    node = ToolNode([made])

    def step(state: MessagesState) -> Any:
        update = node.invoke(state)
        tries.append(1)
        if fail_first and len(tries) == 1:
            raise ConnectionError("after the tool")
        return update

    policy = RetryPolicy(initial_interval=0, jitter=False)
    builder = StateGraph(MessagesState).add_node("step", step, retry_policy=policy)
    graph = builder.add_edge(START, "step").compile(checkpointer=InMemorySaver())
    call = {"name": made.name, "args": args, "id": "1"}
    message = AIMessage("", tool_calls=[call])
    return graph.invoke({"messages": [message]}, THREAD, durability="sync")["messages"][-1]


def test_the_body_runs_once_across_attempts() -> None:
    done: list[str] = []

    def body(to: str) -> str:
        done.append(to)
        return f"sent {to} {len(done)}"

    made = guarded(
        Settings(),
        name="send",
        description="Sends.",
        args=To,
        body=body,
        default="allow",
        outside=Outside(),
    )
    assert run(made, {"to": "a"}).content == "sent a 1"
    assert done == ["a"]


def test_a_body_that_may_have_done_it_stops_the_run() -> None:
    def body(to: str) -> str:
        raise FetchError("no answer", data={"reason": "timeout"})

    made = guarded(
        Settings(),
        name="send",
        description="Sends.",
        args=To,
        body=body,
        default="allow",
        outside=Outside(),
    )
    with pytest.raises(NeedsReconcile):
        run(made, {"to": "a"})


def test_files_are_written_once_and_an_edit_is_not_repeated(tmp_path: Path) -> None:
    settings = Settings.model_validate(
        {
            "tools": {
                "files": {"roots": [str(tmp_path)]},
                "permissions": [{"tool": "files_*", "permission": "allow"}],
            }
        }
    )
    (tmp_path / "a.txt").write_text("one", encoding="utf-8")
    said = run(tool("files_edit", settings), {"path": "a.txt", "old": "one", "new": "one one"})
    assert said.status == "success"
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "one one"


@pytest.mark.parametrize(
    ("error", "sure"),
    [
        (ToolRefusedError("outside"), True),
        (ToolFailedError("no such file"), True),
        (ToolFailedError("404", data={"status": 404}), True),
        (ToolFailedError("500", data={"status": 500}), False),
        (FetchError("refused", data={"reason": "connection"}), True),
        (FetchError("half an answer", data={"reason": "protocol"}), False),
        (UrlRefusedError("private", data={"reason": "private"}), True),
        (UrlRefusedError("elsewhere", data={"reason": "redirect"}), False),
        (ValueError("anything"), False),
    ],
)
def test_what_an_error_says_about_the_outside(error: Exception, sure: bool) -> None:
    assert nothing_was_done(error) is sure
