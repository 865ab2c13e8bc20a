"""The loop of messages, answers and approvals."""

import asyncio
import json
import signal
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from langgraph.types import Command, StateSnapshot

from nearfar.errors import NearfarError
from nearfar.settings import Settings
from nearfar.storage.checkpoints import open_saver

from .commands import obey
from .lines import Lines
from .screen import Screen
from .session import Choices, Leave, Session


async def converse(
    settings: Settings, choices: Choices, thread: str | None, screen: Screen, lines: Lines
) -> bool:
    """Talk until the input ends. Whether the thread then waits for a person's approval."""
    async with open_saver(settings) as saver:
        name = thread or f"chat-{uuid.uuid4().hex[:8]}"
        session = Session(settings, choices, name, screen, saver)
        if lines.live:
            screen.note(f"Thread {name}. /help lists the commands; Ctrl-D leaves.")
        waits = await _take_up(session, lines)
        with suppress(EOFError, Leave):
            while not waits:
                try:
                    text = await lines.ask("> ")
                except KeyboardInterrupt:
                    screen.note("Ctrl-D leaves.")
                    continue
                if text.strip().startswith("/"):
                    await _guarded(screen, obey(session, text.strip()))
                elif text.strip():
                    waits = await _turn(session, lines, {"question": text})
        if lines.live:
            screen.note(f"Go on with: nearfar chat --thread {session.thread}")
    return waits


async def _take_up(session: Session, lines: Lines) -> bool:
    """A thread of earlier may wait for an approval, or have been killed in the middle of an answer."""
    state = await session.state()
    messages = state.values.get("messages") or []
    if messages and lines.live:
        session.screen.note(f"{len(messages)} messages so far; /history shows them.")
    if state.interrupts:
        return await _turn(session, lines, None)
    if await session.settle([]):
        session.screen.note("The last answer was broken off; what was said is kept.")
    return False


async def _guarded(screen: Screen, work: Any) -> Any:
    try:
        return await work
    except NearfarError as error:
        screen.error(error)
        return None


async def _turn(session: Session, lines: Lines, given: Any) -> bool:
    """An answer, with all the approvals on its way. Whether it waits and nobody can be asked."""
    state = await session.state() if given is None else None
    while True:
        if state is None:
            state = await _stoppable(session, given)
        if state is None or not state.interrupts:
            return False
        try:
            decisions = {
                pause.id: await _decide(session.screen, lines, pause.value)
                for pause in state.interrupts
            }
        except EOFError:
            session.screen.note(f"It waits for an approval: nearfar chat --thread {session.thread}")
            return True
        except KeyboardInterrupt:
            await session.settle([])
            session.screen.note("Stopped.")
            return False
        given, state = Command(resume=decisions), None


async def _stoppable(session: Session, given: Any) -> StateSnapshot | None:
    """The answer; None when Ctrl-C stopped it or it failed."""
    task = asyncio.ensure_future(_guarded(session.screen, session.answer(given)))
    with _interrupts(task.cancel):
        try:
            found: StateSnapshot | None = await task
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if current is not None and current.cancelling():
                raise
            session.screen.note("Stopped.")
            return None
    return found


@contextmanager
def _interrupts(stop: Callable[[], Any]) -> Iterator[None]:
    """Ctrl-C calls ``stop`` in the event loop, and ends nothing else."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    before = signal.signal(signal.SIGINT, lambda *_: loop.call_soon_threadsafe(stop))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


async def _decide(screen: Screen, lines: Lines, asked: Any) -> dict[str, Any]:
    """A person's answer to an interrupt, in the form that the tools understand."""
    actions = asked.get("action_requests") if isinstance(asked, dict) else None
    if not actions:  # a tool of the user's own asks something else
        screen.text(json.dumps(asked, ensure_ascii=False, default=str))
        return {"answer": await lines.ask("Answer: ")}
    allowed = asked.get("review_configs") or [{}]
    may_edit = "edit" in allowed[0].get("allowed_decisions", [])
    decisions = [await _decide_one(screen, lines, action, may_edit=may_edit) for action in actions]
    return {"decisions": decisions}


async def _decide_one(
    screen: Screen, lines: Lines, action: dict[str, Any], *, may_edit: bool
) -> dict[str, Any]:
    screen.request(action)
    options = "[y]es, [n]o, [e]dit" if may_edit else "[y]es, [n]o"
    while True:
        said = (await lines.ask(f"Allow it? {options}: ")).strip()
        word, _, rest = said.partition(" ")
        if word.lower() in ("y", "yes"):
            return {"type": "approve"}
        if word.lower() in ("n", "no"):
            return {"type": "reject", **({"message": rest.strip()} if rest.strip() else {})}
        if may_edit and word.lower() in ("e", "edit"):
            edited = await _edit(screen, lines, action, rest)
            if edited is not None:
                return edited
        else:
            screen.note("Say y, n (and why), or e." if may_edit else "Say y or n.")


async def _edit(
    screen: Screen, lines: Lines, action: dict[str, Any], given: str
) -> dict[str, Any] | None:
    """The call with other arguments; None where they are no JSON object."""
    now = json.dumps(action["args"], ensure_ascii=False)
    text = given.strip() or await lines.ask("Arguments: ", default=now)
    try:
        args = json.loads(text)
    except ValueError as error:
        screen.note(f"That is no JSON: {error}")
        return None
    if not isinstance(args, dict):
        screen.note("The arguments are a JSON object.")
        return None
    return {"type": "edit", "edited_action": {"name": action["name"], "args": args}}
