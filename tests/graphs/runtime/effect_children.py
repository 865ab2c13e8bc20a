"""Runs Runners in children that are forked from one warmed process, and kills some of them.

Started by the tests; it reads one JSON object a line and answers with one.
"""

import asyncio
import json
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nearfar
from nearfar.storage.effects import EffectStore
from tests.graphs.runtime import effect_flow


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def dying(method: Callable[..., Any], *, after: bool, calls: list[int]) -> Callable[..., Any]:
    """``method`` kills the process around its first call (the nth where ``calls`` says so)."""

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        calls[0] -= 1
        if calls[0] == 0 and not after:
            die()
        result = method(*args, **kwargs)
        if calls[0] == 0:
            die()
        return result

    return wrapped


def arm(point: str, nth: int) -> None:
    name, _, side = point.partition(":")
    place: Any = effect_flow if name == "_ask" else EffectStore
    setattr(place, name, dying(getattr(place, name), after=side == "after", calls=[nth]))


def write(file: str, text: str) -> None:
    Path(file).write_text(text, encoding="utf-8")


async def work(task: dict[str, Any]) -> dict[str, Any]:
    async with nearfar.Runner() as runner:
        if task["run_id"] is None:
            flow = f"{effect_flow.__name__}:{task['graph']}"
            run = await runner.start(flow, {"what": task["what"]}, idempotency_key=task["what"])
            write(task["note"], run.id)
        else:
            run = await runner.get(task["run_id"])
        record = await run.settled()
        return {"run_id": run.id, "status": record.status, "output": record.output}


def in_child(task: dict[str, Any]) -> None:
    os.environ.update(task["environ"])
    if task["die_at"]:
        arm(task["die_at"], task["nth"])
    if task["die_after_s"]:
        signal.setitimer(signal.ITIMER_REAL, task["die_after_s"])
        signal.signal(signal.SIGALRM, lambda *_: die())
    told = asyncio.run(work(task))
    write(task["answer"], json.dumps(told))


def warm_up() -> None:
    """Import what runs import, so that each child need not; leaves no thread behind."""
    with tempfile.TemporaryDirectory() as home:
        os.environ |= {"NEARFAR_HOME": home, "FAR_SIDE": "http://127.0.0.1:9"}
        asyncio.run(
            work({"run_id": None, "graph": "blind_graph", "what": "warm", "note": os.devnull})
        )


def main() -> None:
    warm_up()
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                in_child(json.loads(line))
            except BaseException:  # noqa: BLE001  # a child must not go on as its parent
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        sys.stdout.write(json.dumps({"signal": number}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
