"""Effects as they are kept."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from nearfar.telemetry import redact

Status = Literal["reserved", "done", "failed", "unknown"]

_SHOWN = 400  # characters of the arguments that are kept for people
_KEY_LENGTH = 40


@dataclass(frozen=True)
class Call:
    """One call of an effect, as the step that makes it knows it.

    ``scope`` is the step (a task of a checkpoint, the same in each attempt at it). ``mark`` names
    the call beyond doubt (the user's own key, a tool call's id); without one, the place among the
    calls of that name in the step does.
    """

    thread_id: str
    scope: str
    step: str  # the node's name
    name: str
    arguments: str  # for people, without secrets
    fingerprint: str
    run_id: str | None = None
    mark: str | None = None

    def key(self, position: int) -> str:
        """The same for the same call in each attempt; no other call has it."""
        place = ["mark", self.mark] if self.mark is not None else [self.scope, str(position)]
        text = json.dumps([self.thread_id, self.name, *place])
        return "nf_" + hashlib.sha256(text.encode()).hexdigest()[:_KEY_LENGTH]


@dataclass(frozen=True)
class Effect:
    """An effect in the database. ``failed``: surely not done. ``reserved``: begun, not ended."""

    key: str
    thread_id: str
    run_id: str | None
    step: str
    name: str
    position: int
    fingerprint: str
    arguments: str
    status: Status
    error: str | None
    attempts: int
    settled_by: str | None  # "person" or "callback", where the outcome had to be found out
    created_at: float  # seconds since the epoch
    updated_at: float
    kept: bool  # the value is there

    def to_dict(self) -> dict[str, Any]:
        """For ``nearfar runs show``."""
        return {
            "key": self.key,
            "name": self.name,
            "step": self.step,
            "status": self.status,
            "arguments": self.arguments,
            "error": self.error,
            "attempts": self.attempts,
            "settled_by": self.settled_by,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
        }


def described(arguments: Mapping[str, Any]) -> tuple[str, str]:
    """The arguments of a call for people (cut, secrets masked), and their fingerprint."""
    whole = json.dumps(arguments, sort_keys=True, default=_told, ensure_ascii=False)
    fingerprint = hashlib.sha256(whole.encode("utf-8", "surrogatepass")).hexdigest()
    masked = redact(dict(arguments))
    shown = json.dumps(masked, default=_told, ensure_ascii=False)
    shown = str(redact(shown)).encode("utf-8", "replace").decode()
    return (shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}..."), fingerprint


def _told(value: Any) -> str:
    """Something that JSON has no form for; never with the address that a plain ``repr`` may hold."""
    try:
        text = str(value)
    except Exception:  # noqa: BLE001  # a plugin boundary: the value is the user's own class
        return type(value).__name__
    return type(value).__name__ if " at 0x" in text else text
