"""The /commands of a conversation."""

import json
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage

from nearfar.errors import UsageError
from nearfar.graphs.plain import to_plain
from nearfar.storage import writing

from .screen import call_line
from .session import Leave, Session


@dataclass(frozen=True)
class _Command:
    run: Callable[[Session, str], Awaitable[None]]
    usage: str
    help: str


async def obey(session: Session, line: str) -> None:
    """Do what the line says. Raises UsageError for an unknown command, and Leave."""
    name, _, rest = line.partition(" ")
    if name not in _COMMANDS:
        raise UsageError(f"There is no command {name}.", remedy="/help lists the commands.")
    await _COMMANDS[name].run(session, rest.strip())


async def _help(session: Session, _rest: str) -> None:
    width = max(len(command.usage) for command in _COMMANDS.values()) + 2
    lines = [f"{command.usage:<{width}}{command.help}" for command in _COMMANDS.values()]
    lines.append("")
    lines.append("Enter sends; Alt-Enter, or a \\ at its end, begins a new line.")
    lines.append("Ctrl-C stops an answer; Ctrl-D leaves.")
    session.screen.text("\n".join(lines))


async def _tools(session: Session, rest: str) -> None:
    if rest:
        names = [] if rest == "none" else [n for n in rest.replace(",", " ").split() if n]
        session.change(replace(session.choices, tools=names))
    if not session.tools:
        session.screen.text("No tools.")
    for tool in session.tools:
        guard = getattr(tool, "guard", None)
        permission = guard.policy.summary(tool.name) if guard else "ask"
        session.screen.text(f"{tool.name}  ({permission})  {tool.description.splitlines()[0]}")


async def _model(session: Session, rest: str) -> None:
    if rest:
        session.change(replace(session.choices, model=rest))
    chosen = session.choices.model or session.settings.assistant.model or "the default one"
    known = [*session.settings.routers, *session.settings.models, "builtin"]
    session.screen.text(f"Model: {chosen}. Known: {', '.join(dict.fromkeys(known))}.")


async def _thread(session: Session, rest: str) -> None:
    if rest:
        session.thread = rest
        await session.settle([])
    messages = await session.messages()
    session.screen.text(f"Thread {session.thread}, {len(messages)} messages.")


async def _new(session: Session, _rest: str) -> None:
    session.thread = f"chat-{uuid.uuid4().hex[:8]}"
    session.screen.text(f"Thread {session.thread}, 0 messages.")


async def _history(session: Session, rest: str) -> None:
    messages = await session.messages()
    if not messages:
        session.screen.text("Nothing was said yet.")
    count = int(rest) if rest.isdigit() else len(messages)
    for message in messages[-count:] if count else []:
        session.screen.message(message)


async def _memory(session: Session, rest: str) -> None:
    memory = _memory_of(session)
    found = memory.search(rest) if rest else memory.all()
    if not found:
        session.screen.text("Nothing is remembered.")
    for one in found:
        session.screen.text(f"{one.id}  {one.text}")


async def _remember(session: Session, rest: str) -> None:
    if not rest:
        raise UsageError("Nothing to remember.", remedy="/remember I do not eat meat.")
    session.screen.text(f"Remembered as {_memory_of(session).remember(rest).id}.")


async def _forget(session: Session, rest: str) -> None:
    if rest == "thread":
        await session.delete_thread()
        session.screen.text(f"What was said in {session.thread} is gone.")
    elif rest == "all":
        session.screen.text(f"Forgot {_memory_of(session).forget_all()} memories.")
    elif rest:
        if not _memory_of(session).forget(rest):
            raise UsageError(f"There is no memory {rest}.", remedy="/memory lists them.")
        session.screen.text(f"Forgot {rest}.")
    else:
        raise UsageError(
            "Say what to forget.", remedy="/forget ID, /forget all (memories), /forget thread."
        )


def _memory_of(session: Session) -> Any:
    if session.memory is None:
        raise UsageError("Memory is turned off.", remedy="Set assistant.memory to true.")
    return session.memory


async def _cost(session: Session, _rest: str) -> None:
    usage, cost = session.meter.usage, session.meter.cost_usd
    price = "at a price that is not known" if cost is None else f"{cost:.6f} USD"
    session.screen.text(
        f"Since this chat began: {usage['input_tokens']} tokens in, {usage['output_tokens']} out, {price}."
    )


async def _save(session: Session, rest: str) -> None:
    if not rest:
        raise UsageError("Say where to.", remedy="/save talk.md, or talk.json.")
    messages = await session.messages()
    path = _write(rest, messages)
    session.screen.text(f"Saved {len(messages)} messages in {path}.")


def _write(name: str, messages: list[AnyMessage]) -> Path:
    """A file that is there is not written over."""
    path = Path(name).expanduser()
    text = as_markdown(messages)
    if path.suffix == ".json":
        text = json.dumps(to_plain(messages), ensure_ascii=False, indent=2) + "\n"
    with writing(path):
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            raise UsageError(f"{path} is there already.", remedy="Name another file.") from None
    return path


async def _quit(_session: Session, _rest: str) -> None:
    raise Leave


def as_markdown(messages: list[AnyMessage]) -> str:
    """The conversation for people."""
    parts: list[str] = []
    for message in messages:
        if isinstance(message, HumanMessage):
            parts.append(f"**You:** {message.text}")
        elif isinstance(message, AIMessage):
            parts += [f"`→ {call_line(c['name'], c['args'])}`" for c in message.tool_calls]
            parts += [f"**Assistant:** {message.text}"] if message.text else []
        elif isinstance(message, ToolMessage):
            quoted = "\n".join(f"> {line}" for line in str(message.text).splitlines())
            parts.append(f"`← {message.name}`\n\n{quoted}")
    return "\n\n".join(parts) + "\n"


_COMMANDS: dict[str, _Command] = {
    "/help": _Command(_help, "/help", "Show this."),
    "/tools": _Command(
        _tools, "/tools [NAME ...]", "Show the tools, or use these; `none` for none."
    ),
    "/model": _Command(_model, "/model [NAME]", "Show the model or router, or use another."),
    "/thread": _Command(_thread, "/thread [NAME]", "Show the thread, or go on with another."),
    "/new": _Command(_new, "/new", "Begin a new thread."),
    "/history": _Command(_history, "/history [N]", "Show what was said; the last N messages."),
    "/memory": _Command(_memory, "/memory [WORDS]", "Show what is remembered of you."),
    "/remember": _Command(_remember, "/remember TEXT", "Remember it in all conversations."),
    "/forget": _Command(
        _forget, "/forget ID|all|thread", "Forget a memory, all of them, or this conversation."
    ),
    "/cost": _Command(_cost, "/cost", "Show tokens and money."),
    "/save": _Command(_save, "/save FILE", "Write the conversation to a .md or .json file."),
    "/quit": _Command(_quit, "/quit", "Leave; so does Ctrl-D."),
}
NAMES = tuple(_COMMANDS)
