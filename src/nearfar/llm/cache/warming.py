"""Asking in advance what will be asked."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage, convert_to_messages

from nearfar.errors import NearfarError, UsageError

_KEYS = {"prompt", "messages", "tenant"}


@dataclass
class WarmReport:
    """How many prompts were answered anew and stored, were there already, or cannot be stored.

    ``failed`` has the line of each one that was not answered, and the error.
    """

    stored: int = 0
    present: int = 0
    not_stored: int = 0
    failed: list[tuple[int, NearfarError]] = field(default_factory=list)


@dataclass(frozen=True)
class _Prompt:
    line: int
    messages: list[BaseMessage]
    tenant: str | None


async def warm(router: BaseChatModel, file: Path, *, at_once: int = 4) -> WarmReport:
    """Ask a router that has a cache each prompt of a JSONL file.

    A line is ``{"prompt": "..."}`` or ``{"messages": [{"role": "user", "content": "..."}]}``, with
    ``"tenant"`` where there are tenants. Raises UsageError, before anything is asked, for a file that
    is not like that.
    """
    prompts = list(_prompts(file))
    report = WarmReport()
    gate = asyncio.Semaphore(at_once)

    async def ask(prompt: _Prompt) -> None:
        async with gate:
            try:
                reply = await router.ainvoke(prompt.messages, tenant=prompt.tenant)
            except NearfarError as error:
                report.failed.append((prompt.line, error))
                return
        told = reply.response_metadata.get("nearfar", {}).get("cache", {})
        if told.get("hit"):
            report.present += 1
        elif told.get("stored"):
            report.stored += 1
        else:
            report.not_stored += 1

    await asyncio.gather(*map(ask, prompts))
    report.failed.sort(key=lambda one: one[0])
    return report


def _prompts(file: Path) -> Iterator[_Prompt]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} cannot be read as text.", data={"path": str(file)}) from error
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield _prompt(file, number, line)


def _prompt(file: Path, number: int, line: str) -> _Prompt:
    try:
        found: Any = json.loads(line)
        if not _is_prompt(found):
            raise _no_prompt(file, number)
        given = [{"role": "user", "content": found["prompt"]}] if "prompt" in found else None
        messages = convert_to_messages(given or found["messages"])
    except (ValueError, TypeError, KeyError, NotImplementedError) as error:
        raise _no_prompt(file, number) from error
    return _Prompt(number, messages, found.get("tenant"))


def _is_prompt(found: Any) -> bool:
    return (
        isinstance(found, dict)
        and set(found) <= _KEYS
        and ("prompt" in found) is not ("messages" in found)
        and isinstance(found.get("prompt", ""), str)
        and isinstance(found.get("messages", []), list)
        and isinstance(found.get("tenant", ""), str)
    )


def _no_prompt(file: Path, number: int) -> UsageError:
    return UsageError(
        f"Line {number} of {file} is no prompt.",
        remedy='Each line is {"prompt": "..."} or {"messages": [...]}, with "tenant" if need be.',
        data={"path": str(file), "line": number},
    )
