"""``nearfar.Runner``: accepted means kept, one run for a key, people answer, causes are mended."""

import asyncio
import inspect
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import nearfar
from nearfar.errors import (
    AnswerExpiredError,
    CheckpointTypeError,
    DiskFullError,
    RunCancelledError,
    RunConflictError,
    RunNotFoundError,
    RunStateError,
    ThreadBusyError,
    UsageError,
    WorkflowFailedError,
    WorkflowInputError,
    WorkflowNotFoundError,
)
from nearfar.graphs.runtime import current_run
from nearfar.settings import home
from nearfar.storage.journal import open_journal
from nearfar.storage.journal.holders import this_process

FLOW = """
import asyncio
import operator
import os
import signal
import threading
from pathlib import Path
from typing import Annotated, TypedDict

from langgraph.config import get_stream_writer
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt


class State(TypedDict, total=False):
    question: str
    answer: str
    trail: Annotated[list[str], operator.add]


def one(state):
    get_stream_writer()({"half": "done"})
    return {"trail": ["one"]}


def two(state):
    return {"trail": ["two"], "answer": state["question"].upper()}


def ask(state):
    return {"answer": interrupt({"sure?": state["question"]}), "trail": ["ask"]}


def mendable(state):
    if not Path(os.environ["NEARFAR_HOME"], "mended").exists():
        raise RuntimeError("the part is missing")
    return {"trail": ["mendable"]}


async def forever(state):
    Path(os.environ["NEARFAR_HOME"], "begun").touch()
    await asyncio.Event().wait()


def unstorable(state):
    return {"answer": threading.Lock()}


def flow(*steps):
    builder = StateGraph(State)
    for before, step in zip((None, *steps), steps):
        builder.add_node(step)
        builder.add_edge(before.__name__ if before else START, step.__name__)
    return builder


graph = flow(one, two)
asks = flow(one, ask, two)
two_questions = StateGraph(State)
for name in ("left", "right"):
    two_questions.add_node(name, lambda state, name=name: {"trail": [f"{name} {interrupt(name)}"]})
    two_questions.add_edge(START, name)
stops = flow(one, two).compile(interrupt_before=["two"])
fails = flow(one, mendable, two)
hangs = flow(one, forever)
holds_a_lock = flow(unstorable)
"""


pytestmark = pytest.mark.usefixtures("store")


@pytest.fixture
def flow(tmp_path: Path) -> str:
    path = tmp_path / "flow.py"
    path.write_text(FLOW, encoding="utf-8")
    return str(path)


async def until(ask: Callable[[], Any], wanted: Any) -> None:
    async with asyncio.timeout(30):
        while True:
            found = ask()
            if (await found if inspect.isawaitable(found) else found) == wanted:
                return
            await asyncio.sleep(0.005)


def begun() -> bool:
    return (home() / "begun").exists()


def mend(flow: str) -> None:
    Path(flow).write_text(FLOW.replace("await asyncio.Event().wait()", "pass"), encoding="utf-8")


async def test_a_run_is_in_the_journal_before_start_returns_and_gives_plain_json(flow: str) -> None:
    async with nearfar.Runner() as runner:
        run = await runner.start(f"{flow}:graph", {"question": "hi"})
        async with open_journal(nearfar.load_settings()) as other:
            assert [record.id for record in await other.find()] == [run.id]
        assert await run.result() == {"question": "hi", "trail": ["one", "two"], "answer": "HI"}
        assert await run.status() == "succeeded"
        assert (await runner.get(run.id)).thread_id == run.thread_id
        with pytest.raises(RunNotFoundError):
            await runner.get("nothing")


async def test_the_same_key_is_the_same_run_and_another_body_is_refused(flow: str) -> None:
    async with nearfar.Runner() as runner:
        first, second = await asyncio.gather(
            *(
                runner.start(f"{flow}:graph", {"question": "hi"}, idempotency_key="k")
                for _ in range(2)
            )
        )
        assert first.id == second.id
        with pytest.raises(RunConflictError):
            await runner.start(f"{flow}:graph", {"question": "ho"}, idempotency_key="k")
        elsewhere = await runner.start(
            f"{flow}:graph", {"question": "ho"}, idempotency_key="k", tenant="other"
        )
        assert elsewhere.id != first.id
        await elsewhere.result()
    async with nearfar.Runner() as runner:
        third = await runner.start(f"{flow}:graph", {"question": "hi"}, idempotency_key="k")
        assert third.id == first.id
        assert (await third.record()).attempt == 1


async def test_what_cannot_be_run_is_refused_and_not_kept(flow: str) -> None:
    async with nearfar.Runner() as runner:
        with pytest.raises(WorkflowInputError):
            await runner.start(f"{flow}:graph", {"quest": "hi"})
        with pytest.raises(WorkflowNotFoundError):
            await runner.start("nothing", {})
        with pytest.raises(UsageError):
            await runner.start(f"{flow}:graph", {"question": "hi"}, priority="soon")
        assert await runner.list() == []


async def test_events_tell_the_steps_and_end_with_the_run(flow: str) -> None:
    async with nearfar.Runner() as runner:
        run = await runner.start(f"{flow}:graph", {"question": "hi"})
        events = [event async for event in run.events()]
    started = [e.data["name"] for e in events if e.kind == "step" and not e.data["done"]]
    assert started == ["one", "two"]
    assert [e.data for e in events if e.kind == "custom"] == [{"half": "done"}]
    assert events[-1].to_dict()["data"] == {"status": "succeeded"}


async def test_a_person_is_asked_and_answers_after_a_restart(flow: str) -> None:
    async with nearfar.Runner() as runner:
        run = await runner.start(f"{flow}:asks", {"question": "hi"}, thread_id="t")
        output = await run.result()
        assert [q["value"] for q in output["__interrupt__"]] == [{"sure?": "hi"}]
        with pytest.raises(ThreadBusyError):
            await runner.start(f"{flow}:asks", {"question": "ho"}, thread_id="t")
    async with nearfar.Runner() as runner:
        [waiting] = await runner.list(status="waiting")
        await runner.resume(waiting.id, value="yes")
        assert (await waiting.result())["trail"] == ["one", "ask", "two"]
        with pytest.raises(RunStateError):
            await runner.resume(waiting.id, value="again")


async def test_several_questions_are_answered_by_their_ids(flow: str) -> None:
    async with nearfar.Runner() as runner:
        run = await runner.start(f"{flow}:two_questions", {"question": "hi"})
        asked = {q["value"]: q["id"] for q in (await run.result())["__interrupt__"]}
        with pytest.raises(RunStateError, match="2 questions"):
            await runner.resume(run.id, value="yes")
        await runner.resume(run.id, value={asked["left"]: "L"})
        [left] = (await run.result())["__interrupt__"]
        assert left["value"] == "right"
        await runner.resume(run.id, value="R")
        assert (await run.result())["trail"] == ["left L", "right R"]


async def test_a_breakpoint_is_let_pass(flow: str) -> None:
    async with nearfar.Runner() as runner:
        run = await runner.start(f"{flow}:stops", {"question": "hi"})
        assert (await run.result())["__interrupt__"][0]["value"] == {"next": ["two"]}
        await runner.resume(run.id)
        assert (await run.result())["answer"] == "HI"


async def test_nobody_answers_in_time(flow: str) -> None:
    settings = nearfar.load_settings()
    runs = settings.runs.model_copy(update={"answer_within_s": 0.01})
    settings = settings.model_copy(update={"runs": runs})
    async with nearfar.Runner(settings) as runner:
        run = await runner.start(f"{flow}:asks", {"question": "hi"})
        await until(run.status, "failed")
        with pytest.raises(AnswerExpiredError):
            await run.result()
    async with nearfar.Runner() as runner:
        await runner.resume(run.id)
        again = await runner.get(run.id)
        assert "__interrupt__" in await again.result()


async def test_a_failed_run_goes_on_at_its_step_when_the_cause_is_mended(flow: str) -> None:
    async with nearfar.Runner() as runner:
        run = await runner.start(f"{flow}:fails", {"question": "hi"})
        with pytest.raises(WorkflowFailedError, match="'mendable' failed: RuntimeError: the part"):
            await run.result()
    (home() / "mended").touch()
    async with nearfar.Runner() as runner:
        failed = await runner.get(run.id)
        with pytest.raises(WorkflowFailedError) as caught:
            await failed.result()
        assert caught.value.data["step"] == "mendable"
        await runner.resume(run.id)
        assert (await failed.result())["trail"] == ["one", "mendable", "two"]


async def test_a_state_that_cannot_be_kept_is_said_to_be_one(flow: str) -> None:
    async with nearfar.Runner() as runner:
        run = await runner.start(f"{flow}:holds_a_lock", {"question": "hi"})
        with pytest.raises(CheckpointTypeError):
            await run.result()


async def test_cancelling_ends_a_run_at_once_and_for_good(flow: str) -> None:
    async with nearfar.Runner() as runner, nearfar.Runner(adopt=False) as other:
        run = await runner.start(f"{flow}:hangs", {"question": "hi"})
        await until(begun, True)
        await other.cancel(run.id)
        with pytest.raises(RunCancelledError):
            await run.result()
        await until(lambda: runner.worker.works_on(run.id), False)
        assert await run.status() == "cancelled"
        done = await runner.start(f"{flow}:graph", {"question": "hi"})
        await done.result()
        with pytest.raises(RunStateError):
            await other.cancel(done.id)


async def test_a_fork_runs_anew_from_its_checkpoint_and_leaves_the_old_run(flow: str) -> None:
    async with nearfar.Runner() as runner:
        run = await runner.start(f"{flow}:graph", {"question": "hi"})
        before = await run.result()
        points = await runner.checkpoints(await run.record())
        assert [point["step"] for point in points] == [-1, 0, 1, 2]
        fork = await runner.fork(run.id, checkpoint_id=points[2]["id"])
        assert fork.thread_id != run.thread_id
        assert await fork.result() == before
        assert (await fork.record()).forked_from == f"{run.id}:{points[2]['id']}"
        assert await runner.checkpoints(await run.record()) == points
        with pytest.raises(RunStateError):
            await runner.fork(run.id, checkpoint_id="nothing")


async def test_what_was_not_done_when_a_runner_closed_the_next_one_does(flow: str) -> None:
    async with nearfar.Runner() as runner:
        run = await runner.start(f"{flow}:hangs", {"question": "hi"})
        await until(begun, True)
    async with nearfar.Runner(work=False) as runner:
        assert await (await runner.get(run.id)).status() == "queued"
        mend(flow)
    async with nearfar.Runner() as runner:
        assert (await (await runner.get(run.id)).result())["trail"] == ["one"]


async def test_turns_of_a_thread_run_in_their_order(flow: str) -> None:
    async with nearfar.Runner() as runner:
        runs = [
            await runner.start(f"{flow}:graph", {"question": str(n)}, thread_id="t")
            for n in range(5)
        ]
        outputs = [await run.result() for run in runs]
    assert [len(output["trail"]) for output in outputs] == [2, 4, 6, 8, 10]
    assert [output["answer"] for output in outputs] == list("01234")


async def test_prune_forgets_what_ended_and_keeps_what_waits(flow: str) -> None:
    async with nearfar.Runner() as runner:
        await (await runner.start(f"{flow}:graph", {"question": "hi"})).result()
        waiting = await runner.start(f"{flow}:asks", {"question": "hi"})
        await waiting.result()
        assert await runner.prune(older_than_s=0) == 1
        assert [run.id for run in await runner.list()] == [waiting.id]


def test_outside_of_a_run_there_is_no_run() -> None:
    assert current_run() is None


async def test_records_are_json(flow: str) -> None:
    from nearfar.graphs.runtime.showing import exported

    async with nearfar.Runner() as runner:
        run = await runner.start(f"{flow}:graph", {"question": "hi"})
        await run.result()
        whole: dict[str, Any] = await exported(runner, await run.record())
    assert json.loads(json.dumps(whole)) == whole
    assert whole["input"] == {"question": "hi"}
    assert whole["states"][-1]["values"]["answer"] == "HI"


async def test_a_run_whose_process_is_gone_is_told_from_one_that_is_worked_on(flow: str) -> None:
    from nearfar.graphs.runtime.showing import is_left

    async with nearfar.Runner() as runner:
        run = await runner.start(f"{flow}:hangs", {"question": "hi"})
        await until(begun, True)
        record = await run.record()
        assert not is_left(record)
        assert is_left(replace(record, home=str(replace(this_process(), boot="an earlier one"))))
        await runner.cancel(run.id)


async def test_a_database_that_fails_is_told_and_the_run_goes_on_when_it_works_again(
    flow: str, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nearfar.storage.checkpoints.postgres import PostgresSaver
    from nearfar.storage.checkpoints.sqlite import SqliteSaver

    kind: Any = SqliteSaver if store == "sqlite" else PostgresSaver
    whole = kind.aput_writes

    async with nearfar.Runner() as runner:

        async def full(self: Any, *args: Any, **kwargs: Any) -> None:
            raise DiskFullError("no space", data={"path": runner.journal.name})

        monkeypatch.setattr(kind, "aput_writes", full)
        run = await runner.start(f"{flow}:graph", {"question": "hi"})
        with pytest.raises(DiskFullError):
            await run.result()
        assert await run.status() == "queued"
        monkeypatch.setattr(kind, "aput_writes", whole)
        assert (await run.result())["answer"] == "HI"
