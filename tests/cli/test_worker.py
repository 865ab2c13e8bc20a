"""``nearfar worker``: what was only enqueued is worked on, and a signal ends it in time."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import nearfar
from tests.conftest import Cli

FLOW = """
from typing import TypedDict

from langgraph.graph import START, StateGraph


class State(TypedDict, total=False):
    word: str


graph = StateGraph(State).add_node("loud", lambda state: {"word": state["word"].upper()})
graph.add_edge(START, "loud")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no SIGTERM")
async def test_a_detached_run_waits_for_a_worker_and_sigterm_ends_that(
    cli: Cli, tmp_path: Path, postgres_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEARFAR__STORAGE__URL", postgres_database)
    (tmp_path / "flow.py").write_text(FLOW, encoding="utf-8")
    told = cli("run", "./flow.py:graph", "--word", "hi", "--detach", "--json").json
    assert told["status"] == "queued"
    command = [sys.executable, "-m", "nearfar.cli.main", "worker", "--concurrency", "2"]
    worker = subprocess.Popen(command, stderr=subprocess.PIPE, env=dict(os.environ))  # noqa: ASYNC220 - nothing else runs here
    try:
        async with nearfar.Runner(work=False) as runner:
            run = await runner.get(told["run_id"])
            assert await run.result() == {"word": "HI"}
        asked = time.monotonic()
        worker.send_signal(signal.SIGTERM)
        _, err = worker.communicate(timeout=15)
    finally:
        worker.kill()
    assert time.monotonic() - asked < 10
    assert worker.returncode == 0, err


def test_only_workers_of_a_postgres_are_kept_to_workflows(cli: Cli) -> None:
    rc, _, err = cli("worker", "--workflow", "ask")
    assert rc == 2
    assert "storage.url" in err
