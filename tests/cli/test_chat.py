"""`nearfar chat` in a real pseudo-terminal, and through a pipe."""

import io
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nearfar.cli.main import main
from nearfar.testing.fault_server import Fault, FaultServer, Reply, ToolCall

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")

if sys.platform != "win32":
    from .terminal import Terminal

CONFIG = """
models:
  lab: {{provider: openai-compatible, base_url: "{url}", model: m, api_key: none, price: {{input: 1, output: 2}}}}
  other: {{provider: openai-compatible, base_url: "{url}", model: n, api_key: none, price: {{input: 1, output: 2}}}}
routers:
  default: {{candidates: [lab], retries: 0}}
tools: {{files: {{roots: ["{root}"]}}}}
"""


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as server:
        yield server


@pytest.fixture
def place(tmp_path: Path, server: FaultServer) -> Path:
    """A folder with a configuration, and one for files in it."""
    (tmp_path / "files").mkdir()
    config = CONFIG.format(url=server.openai_url, root=(tmp_path / "files").as_posix())
    (tmp_path / "nearfar.yaml").write_text(config, encoding="utf-8")
    return tmp_path


def sent(server: FaultServer, number: int = -1) -> list[tuple[str, str]]:
    """Role and text of the messages of a request, without the instructions."""
    messages = server.requests[number].body["messages"]
    return [(m["role"], m.get("content") or "") for m in messages if m["role"] != "system"]


def test_answers_stream_calls_are_shown_and_commands_do_what_they_say(
    place: Path, server: FaultServer, home_folder: Path
) -> None:
    call = ToolCall("calculator", {"expression": "12 * 7"})
    server.add(Reply("", tool_calls=[call]), Reply("It is 84."), model="m")
    server.add(Fault("reset", at="headers"), Reply("Two lines came."), model="m")
    server.add(Reply("", pieces=["be\x1b[2J\x1b]0;owned\x07", "fore"]), model="n")
    with Terminal("chat", cwd=place) as terminal:
        terminal.say("What is 12 * 7?")
        text = terminal.sees("It is 84.")
        assert '→ calculator(expression="12 * 7")' in text
        assert "← calculator: 84" in text
        terminal.say("/help")
        assert "/forget" in terminal.sees("Ctrl-C stops an answer")
        terminal.say("hello")
        terminal.sees("NF-221")  # a fault ends the answer and not the chat
        terminal.say("first line\\")
        terminal.child.send("second line\r")
        terminal.sees("Two lines came.")
        terminal.say("/model other")
        terminal.say("who are you?")
        terminal.sees("be[2J]0;ownedfore")  # what a model says cannot steer the terminal
        terminal.say("/remember I do not eat meat.")
        terminal.sees("Remembered as")
        terminal.say("/memory")
        terminal.sees("I do not eat meat.", times=2)
        terminal.say("/forget all")
        terminal.sees("Forgot 1 memories.")
        terminal.say("/tools calculator")
        terminal.sees("calculator  (allow)")
        terminal.say("/cost")
        terminal.sees("tokens in")
        terminal.say("/save talk.md")
        terminal.sees("Saved")
        terminal.say("/nonsense")
        terminal.sees("There is no command /nonsense")
        terminal.say("/thread elsewhere")
        terminal.sees("Thread elsewhere, 0 messages.")
        terminal.say("/quit")
        assert terminal.ends() == 0
    said = [text for role, text in sent(server, 3) if role == "user"]
    assert said[-1] == "first line\nsecond line"
    assert "first line" in (place / "talk.md").read_text(encoding="utf-8")
    history = home_folder / "chat_history"
    assert "who are you?" in history.read_text(encoding="utf-8")
    assert history.stat().st_mode & 0o077 == 0


def test_what_was_said_outlives_ctrl_c_and_a_kill(place: Path, server: FaultServer) -> None:
    """Ctrl-C stops the answer and not the chat; a killed chat is taken up by its thread."""
    server.add(
        Reply("one two three " * 500, gap_s=0.05),
        Reply("Here I am."),
        Reply("never to end " * 500, gap_s=0.05),
        Reply("Back again."),
    )
    with Terminal("chat", "--thread", "k", cwd=place) as terminal:
        terminal.say("Count")
        terminal.sees("one two three one")
        terminal.child.sendintr()
        terminal.sees("Stopped.")
        terminal.say("Are you there?")
        terminal.sees("Here I am.")
        terminal.ready()
        terminal.child.sendintr()  # at the prompt it ends nothing
        terminal.sees("Ctrl-D leaves.", times=2)
        terminal.say("Tell me everything")
        terminal.sees("never to end")
        terminal.child.kill(9)
        assert terminal.ends() == -9
    assert [role for role, _ in sent(server, 1)] == ["user", "assistant", "user"]
    stopped = sent(server, 1)[1][1]
    assert stopped.startswith("one two three one")
    assert len(stopped) < 3000
    with Terminal("chat", "--thread", "k", cwd=place) as terminal:
        terminal.sees("The last answer was broken off")
        terminal.say("/history")
        terminal.sees("> Tell me everything")
        terminal.say("Go on")
        terminal.sees("Back again.")
        terminal.ready()
        terminal.child.sendeof()
        assert terminal.ends() == 0
        assert "nearfar chat --thread k" in terminal.text
    assert [role for role, _ in sent(server)] == ["user", "assistant"] * 3 + ["user"]


def test_a_person_approves_edits_and_rejects(place: Path, server: FaultServer) -> None:
    def write(name: str, n: int) -> Reply:
        return Reply(
            "",
            tool_calls=[ToolCall("files_write", {"path": name, "content": "hello\n"}, id=f"c{n}")],
        )

    server.add(write("a.txt", 1), Reply("Done one."))
    server.add(write("b.txt", 2), Reply("Done two."))
    server.add(write("c.txt", 3), Reply("Done three."))
    files = place / "files"
    with Terminal("chat", cwd=place) as terminal:
        terminal.say("Write a.txt")
        terminal.sees("files_write asks to be allowed")
        terminal.sees("Allow it?")
        assert not (files / "a.txt").exists()
        terminal.child.send("maybe\r")
        terminal.sees("Say y, n")
        terminal.child.send("y\r")
        terminal.sees("Done one.")
        assert (files / "a.txt").read_text(encoding="utf-8") == "hello\n"
        terminal.say("Write b.txt")
        terminal.sees("Allow it?", times=3)
        terminal.child.send("n not that one\r")
        terminal.sees("Done two.")
        assert not (files / "b.txt").exists()
        terminal.say("Write c.txt")
        terminal.sees("Allow it?", times=4)
        terminal.child.send("e\r")
        terminal.sees("Arguments:")
        terminal.child.send("\x15" + '{"path": "d.txt", "content": "other"}' + "\r")
        terminal.sees("Done three.")
        assert not (files / "c.txt").exists()
        assert (files / "d.txt").read_text(encoding="utf-8") == "other"
    rejected = [text for role, text in sent(server, 3) if role == "tool"]
    assert "not that one" in rejected[-1]


@pytest.mark.long
def test_an_approval_outlives_a_killed_chat(place: Path, server: FaultServer) -> None:
    call = ToolCall("files_write", {"path": "a.txt", "content": "hello"})
    server.add(Reply("", tool_calls=[call]), Reply("Written."))
    with Terminal("chat", "--thread", "k", cwd=place) as terminal:
        terminal.say("Write it")
        terminal.sees("Allow it?")
        terminal.child.kill(9)
        terminal.ends()
    with Terminal("chat", "--thread", "k", cwd=place) as terminal:
        terminal.sees("Allow it?")
        terminal.child.send("y\r")
        terminal.sees("Written.")
    assert (place / "files" / "a.txt").read_text(encoding="utf-8") == "hello"


class TestPipe:
    @pytest.fixture
    def chat(
        self,
        place: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> Callable[..., tuple[int, str, str]]:
        """`nearfar chat` in this process, with lines on its standard input."""
        monkeypatch.chdir(place)

        def run(said: str, *args: str) -> tuple[int, str, str]:
            monkeypatch.setattr(sys, "stdin", io.StringIO(said))
            code = main(["chat", *args])
            return (code, *capsys.readouterr())

        return run

    def test_each_line_is_a_message(
        self, chat: Callable[..., Any], server: FaultServer, home_folder: Path
    ) -> None:
        server.add(Reply("First."), Reply("Second."))
        said = "one\n\ntwo \\\nlines\n/forget thread\n"
        expected = "First.\nSecond.\nWhat was said in p is gone.\n"
        assert chat(said, "--thread", "p") == (0, expected, "")
        assert sent(server)[-1] == ("user", "two \nlines")
        with sqlite3.connect(home_folder / "nearfar.db") as connection:
            assert connection.execute("SELECT count(*) FROM checkpoints").fetchone() == (0,)
        connection.close()

    def test_an_approval_nobody_gives_waits(
        self, chat: Callable[..., Any], place: Path, server: FaultServer
    ) -> None:
        call = ToolCall("files_write", {"path": "a.txt", "content": "hello"})
        server.add(Reply("", tool_calls=[call]), Reply("Written."))
        rc, out, _ = chat("Write it\n", "--thread", "p")
        assert rc == 3
        assert "nearfar chat --thread p" in out
        rc, out, _ = chat("y\n", "--thread", "p")
        assert (rc, out.splitlines()[-1]) == (0, "Written.")
        assert (place / "files" / "a.txt").read_text(encoding="utf-8") == "hello"
