"""Questions as they are searched with."""

import pytest

from nearfar.graphs.questions import asking


@pytest.mark.parametrize(
    ("said", "asked"),
    [
        ("Ring me at noon. When does the ferry leave?", "When does the ferry leave?"),
        ("When does the ferry leave?", "When does the ferry leave?"),
        ("We bought a kiln. When was it built?", "We bought a kiln. When was it built?"),
        ("The ferry was late. Why?", "The ferry was late. Why?"),
        ("Who built it? When does the ferry leave?", "Who built it? When does the ferry leave?"),
        ("Tell me of the ferry. It leaves.", "Tell me of the ferry. It leaves."),
    ],
)
def test_what_is_told_before_a_question_is_not_asked(said: str, asked: str) -> None:
    assert asking(said) == asked
