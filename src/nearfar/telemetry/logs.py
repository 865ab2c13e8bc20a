"""Log lines on standard error: readable on a terminal, one JSON object per line elsewhere.

Modules log through ``logging.getLogger(__name__)`` with values in ``extra={...}``; as a library
Nearfar sets nothing up. Programs call ``configure_logging`` once.
"""

import logging
import sys
from collections.abc import Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, TextIO

from .redaction import redact

if TYPE_CHECKING:
    from structlog.stdlib import ProcessorFormatter

LOGGER = "nearfar"


def configure_logging(level: str = "warning", *, stream: TextIO | None = None) -> None:
    """Show Nearfar's messages from ``level`` on (debug, info, warning, error) on ``stream``.

    ``stream`` is standard error by default. A second call replaces the first. Only the logger
    ``nearfar`` is touched, so the logging of the program around it stays as it is.
    """
    logger = logging.getLogger(LOGGER)
    for handler in [h for h in logger.handlers if isinstance(h, _Handler)]:
        logger.removeHandler(handler)
    handler = _Handler(sys.stderr if stream is None else stream)
    handler.setFormatter(_Formatter(handler.stream))
    logger.addHandler(handler)
    logger.setLevel(level.upper())
    logger.propagate = False


class _Handler(logging.StreamHandler[TextIO]):
    """Marks our own handler among those of the program."""


class _Formatter(logging.Formatter):
    """Loads structlog with the first message: most commands log nothing, and it costs 0.2 s."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._real: ProcessorFormatter | None = None

    def format(self, record: logging.LogRecord) -> str:
        if self._real is None:
            self._real = _structured(on_terminal=self._stream.isatty())
        return self._real.format(record)


def _structured(*, on_terminal: bool) -> "ProcessorFormatter":
    import os

    import structlog

    renderer: Any = structlog.processors.JSONRenderer(ensure_ascii=False)
    if on_terminal:
        renderer = structlog.dev.ConsoleRenderer(colors=not os.environ.get("NO_COLOR"))
    before: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.ExtraAdder(),
        structlog.processors.format_exc_info,
        _redact_event,
    ]
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=before,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
    )


def _redact_event(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """A structlog processor."""
    for key in [key for key in event if not key.startswith("_")]:
        event[key] = redact(event[key], key=key)
    return event
