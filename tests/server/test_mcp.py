"""`nearfar mcp`, spoken with by the official SDK's client over pipes and over HTTP."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client

from nearfar.errors import UsageError, WorkflowNotFoundError
from nearfar.server.lines import LONGEST
from nearfar.server.mcp import Offer, mcp_server, serve_http
from nearfar.settings import Settings, load_settings

TOKEN = "t0ken-of-the-tests"
FLOWS = """
import asyncio
from pathlib import Path
from typing import TypedDict
from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt

class State(TypedDict, total=False):
    text: str
    answer: str

def first(state): return {"answer": state["text"].upper()}
def ask(state): return {"answer": interrupt("Really?")}
def broken(state): raise ValueError("out of paper")

async def wait(state):
    mark = Path(state["text"])
    mark.write_text("begun")
    try:
        await asyncio.Event().wait()
    except BaseException:
        mark.write_text("cancelled")
        raise

def flow(*steps):
    graph = StateGraph(State)
    for before, step in zip([START, *(s.__name__ for s in steps)], steps):
        graph.add_node(step.__name__, step)
        graph.add_edge(before, step.__name__)
    graph.add_edge(steps[-1].__name__, END)
    return graph

loud = flow(first)
asking = flow(first, ask)
failing = flow(broken)
waiting = flow(wait)
"""
CONFIG = f"""
workflows:
  loud: ./flows.py:loud
  asking: ./flows.py:asking
  failing: ./flows.py:failing
  waiting: ./flows.py:waiting
tools:
  permissions: [{{tool: files_write, permission: ask}}]
  files: {{roots: [.]}}
mcp: {{token: {TOKEN}}}
"""
NAMES = [
    *("--workflow", "loud", "--workflow", "asking", "--workflow", "failing", "--workflow"),
    *("waiting", "--tools", "calculator,files_write"),
]


@dataclass(frozen=True)
class Place:
    folder: Path
    url: str
    process: subprocess.Popen[str]

    @property
    def env(self) -> dict[str, str]:
        return {"NEARFAR_HOME": str(self.folder / "home")}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A server over HTTP, in a process of its own."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "flows.py").write_text(FLOWS)
    (folder / "nearfar.yaml").write_text(CONFIG)
    with subprocess.Popen(
        [sys.executable, "-m", "nearfar.cli.main", "mcp", "--http", "127.0.0.1:0", *NAMES],
        cwd=folder,
        env={**os.environ, "NEARFAR_HOME": str(folder / "home")},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            found = re.search(r"http://127\.0\.0\.1:\d+/mcp", process.stderr.readline())
            assert found
            yield Place(folder, found[0], process)
        finally:
            process.kill()


@asynccontextmanager
async def over_http(place: Place) -> AsyncIterator[Client]:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with (
        create_mcp_http_client(headers=headers) as http,
        Client(streamable_http_client(place.url, http_client=http)) as client,
    ):
        yield client


@asynccontextmanager
async def over_pipes(place: Place) -> AsyncIterator[Client]:
    args = ["-m", "nearfar.cli.main", "mcp", *NAMES]
    parameters = StdioServerParameters(
        command=sys.executable, args=args, env=place.env, cwd=place.folder
    )
    async with Client(parameters) as client:
        yield client


def text_of(result: Any) -> str:
    return str(result.content[0].text)


@pytest.mark.parametrize("way", [over_http, over_pipes])
async def test_the_sdk_s_client_calls_workflows_and_tools(way: Any, place: Place) -> None:
    told: list[Any] = []

    async def hear(*progress: Any) -> None:
        told.append(progress)

    async with way(place) as client:
        listed = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert sorted(listed) == [
            "asking", "calculator", "failing", "files_write", "loud", "waiting",
        ]  # fmt: skip
        assert "text" in listed["loud"].input_schema["properties"]
        done = await client.call_tool("loud", {"text": "owl"}, progress_callback=hear)
        assert text_of(done) == "OWL"
        assert done.structured_content["status"] == "succeeded"
        assert [progress[2] for progress in told] == ["first"]
        assert text_of(await client.call_tool("calculator", {"expression": "2^10"})) == "1024"
        asked = await client.call_tool("asking", {"text": "owl"})
        assert asked.structured_content["status"] == "waiting"
        assert "waits for a person" in text_of(asked)
        for name, given, said in (
            ("loud", {"nope": 1}, "NF-502"),
            ("failing", {"text": "x"}, "out of paper"),
            ("files_write", {"path": "a.md", "content": "x"}, "NF-603"),
            ("calculator", {"expression": "1/0"}, ""),
        ):
            failed = await client.call_tool(name, given)
            assert failed.is_error, name
            assert said in text_of(failed)
        with pytest.raises(MCPError) as caught:
            await client.call_tool("nothing", {})
        assert caught.value.code == -32602
    assert not (place.folder / "a.md").exists()


@pytest.mark.parametrize("way", [over_http, over_pipes])
async def test_a_cancelled_request_cancels_the_run(way: Any, place: Place, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    async with way(place) as client, asyncio.timeout(20):
        call = asyncio.create_task(client.call_tool("waiting", {"text": str(mark)}))
        while not mark.exists() or mark.read_text() != "begun":  # noqa: ASYNC110  # of another process
            await asyncio.sleep(0.02)
        call.cancel()
        while mark.read_text() != "cancelled":  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        assert text_of(await client.call_tool("loud", {"text": "on"})) == "ON"


def test_strangers_do_not_get_in(place: Place) -> None:
    """Without the token, from a web page, or by a name that somebody else's DNS led here."""
    good = {"Authorization": f"Bearer {TOKEN}", "Accept": "application/json, text/event-stream"}
    ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    for headers, status in (
        ({}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({**good, "Origin": "https://evil.example"}, 403),
        ({**good, "Host": "evil.example"}, 421),
    ):
        assert httpx.post(place.url, json=ping, headers=headers).status_code == status


async def test_an_address_for_others_needs_a_token() -> None:
    settings = Settings()
    server = mcp_server(Offer.of(settings, [], ["calculator"]), settings)
    with pytest.raises(UsageError):
        await serve_http(server, "0.0.0.0", 0)  # noqa: S104


def test_what_is_not_there_is_not_served(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WorkflowNotFoundError):
        Offer.of(Settings(), ["nothing"])
    monkeypatch.chdir(place.folder)
    offer = Offer.of(load_settings())
    assert {"ask", "loud", "research"} <= set(offer.workflows)
    assert {"calculator", "files_read"} <= set(offer.tools)


def test_a_message_that_is_too_long_ends_it_with_an_error(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "nearfar.cli.main", "mcp", "--tools", "calculator"],
        cwd=tmp_path,
        env={**os.environ, "NEARFAR_HOME": str(tmp_path / "home")},
        input=b"x" * (LONGEST + 65_537),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert b"NF-605" in done.stderr
    assert b"more than 8 MB" in done.stderr
    assert done.stdout == b""


def test_ctrl_c_ends_it_at_once(place: Place) -> None:
    """Over pipes it reads standard input in a thread, and that must not keep it."""
    if sys.platform == "win32":
        pytest.skip("Ctrl-C cannot be sent to one process here")
    command = [sys.executable, "-m", "nearfar.cli.main", "mcp", *NAMES]
    with subprocess.Popen(
        command,
        cwd=place.folder,
        env={**os.environ, **place.env},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write('{"jsonrpc": "2.0", "id": 1, "method": "server/discover"}\n')
        process.stdin.flush()
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(15) == 130
        finally:
            process.kill()
    place.process.send_signal(signal.SIGINT)
    assert place.process.wait(15) == 130
    assert not psutil.pid_exists(place.process.pid)
