"""What the options before the command mean for it: which settings file, which log level."""

from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nearfar.telemetry import configure_logging

if TYPE_CHECKING:
    from nearfar.settings import Loaded, Settings


@dataclass(frozen=True)
class Invocation:
    """One call of ``nearfar``; ``config`` and ``log_level`` are None where not given."""

    config: str | None = None
    log_level: str | None = None


_PLAIN = Invocation()

invocation: ContextVar[Invocation] = ContextVar("invocation", default=_PLAIN)


def loaded() -> "Loaded":
    """The settings of this call with the source of each value. Raises ConfigurationError."""
    from nearfar.settings import load

    call = invocation.get()
    found = load(call.config)
    configure_logging(call.log_level or found.settings.log.level)
    return found


def settings() -> "Settings":
    """The settings of this call: ``--config``, else the usual places. Raises ConfigurationError."""
    return loaded().settings
