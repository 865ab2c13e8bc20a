"""Log lines: structured, redacted, on standard error, and only ours."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from nearfar.telemetry import MASK, configure_logging


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    logger = logging.getLogger("nearfar")
    before = (logger.level, logger.propagate, list(logger.handlers))
    yield io.StringIO()
    logger.setLevel(before[0])
    logger.propagate = before[1]
    logger.handlers[:] = before[2]


def test_a_line_is_json_with_the_values_of_extra(stream: io.StringIO) -> None:
    configure_logging("info", stream=stream)
    logging.getLogger("nearfar.llm").info("loaded %s", "tiny", extra={"seconds": 1.5})
    line = json.loads(stream.getvalue())
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "loaded tiny",
        "level": "info",
        "logger": "nearfar.llm",
        "seconds": 1.5,
    }


def test_secrets_are_masked_wherever_they_stand(stream: io.StringIO) -> None:
    configure_logging("info", stream=stream)
    secret = "sk-abcdefghijklmnopqrstuvwx"
    logging.getLogger("nearfar").error(
        "key %s",
        secret,
        exc_info=ValueError(secret),
        extra={"api_key": "short", "deep": {"x": [secret]}},
    )
    assert secret not in stream.getvalue()
    assert json.loads(stream.getvalue())["api_key"] == MASK


def test_less_severe_messages_are_left_out(stream: io.StringIO) -> None:
    configure_logging("warning", stream=stream)
    logging.getLogger("nearfar").info("quiet")
    assert stream.getvalue() == ""


def test_a_second_call_replaces_the_first(stream: io.StringIO) -> None:
    configure_logging("warning", stream=stream)
    configure_logging("error", stream=stream)
    logging.getLogger("nearfar").error("once")
    assert len(stream.getvalue().splitlines()) == 1


def test_the_programs_own_logging_is_left_alone(stream: io.StringIO) -> None:
    root = logging.getLogger()
    before = (root.level, list(root.handlers))
    configure_logging("debug", stream=stream)
    logging.getLogger("other").warning("not ours")
    assert (root.level, root.handlers) == before
    assert "not ours" not in stream.getvalue()
