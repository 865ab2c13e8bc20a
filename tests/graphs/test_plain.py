"""Whatever a workflow returns has a JSON form."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage
from pydantic import BaseModel

from nearfar.graphs.plain import to_plain


class Colour(StrEnum):
    """An enumeration."""

    RED = "red"


class Point(BaseModel):
    """A model."""

    x: int
    when: datetime


@dataclass
class Pair:
    """A dataclass."""

    left: Any
    right: Any


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (True, True),
        (Colour.RED, "red"),
        (float("nan"), None),
        ({1: {2}}, {"1": [2]}),
        ((1, "a", None), [1, "a", None]),
        (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00+00:00"),
        (timedelta(minutes=1), 60.0),
        (Decimal("1.50"), "1.50"),
        (b"ab", "YWI="),
        (Path("a") / "b", str(Path("a") / "b")),
        (np.float32(0.5), 0.5),
        (np.arange(3), [0, 1, 2]),
        (
            Point(x=1, when=datetime(2026, 1, 2, tzinfo=UTC)),
            {"x": 1, "when": "2026-01-02T00:00:00+00:00"},
        ),
        (Pair(1, [Colour.RED]), {"left": 1, "right": ["red"]}),
        (HumanMessage("hi"), {"type": "human", "content": "hi"}),
    ],
)
def test_values_have_the_form_one_expects(value: Any, plain: Any) -> None:
    assert to_plain(value) == plain
    assert type(to_plain(value)) is type(plain)


def test_a_message_keeps_its_tool_calls_and_a_document_its_metadata() -> None:
    call = {"name": "f", "args": {"a": 1}, "id": "1", "type": "tool_call"}
    plain = to_plain([AIMessage("", tool_calls=[call]), Document("text", metadata={"page": 1})])
    assert plain[0] == {"type": "ai", "content": "", "tool_calls": [call]}
    assert plain[1]["page_content"] == "text"
    assert plain[1]["metadata"] == {"page": 1}


def test_a_value_that_holds_itself_ends() -> None:
    loop: list[Any] = []
    loop.append(loop)
    json.dumps(to_plain(loop))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner),
        max_leaves=20,
    )
)
def test_every_value_is_json_and_plain_values_stay_as_they_are(value: Any) -> None:
    plain = to_plain(value)
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert to_plain(plain) == plain
