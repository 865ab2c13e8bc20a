"""The Retry-After header in every shape that servers give it."""

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nearfar.llm.retry_after import LONGEST_S, parse_retry_after

NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("3", 3.0),
        ("0", 0.0),
        ("-5", 0.0),
        ("1.5", 1.5),
        (" 7 ", 7.0),
        ("99999999", LONGEST_S),
        (formatdate(NOW + 30, usegmt=True), 30.0),
        (formatdate(NOW - 30, usegmt=True), 0.0),
        ("Tue, 14 Nov 2023 22:13:50 -0000", 30.0),
        ("", None),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("Tue, 99 Nov 9999", None),
        ("3 seconds", None),
    ],
)
def test_it_is_read(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value, now=NOW) == seconds


@given(st.text())
def test_no_text_breaks_it(value: str) -> None:
    found = parse_retry_after(value, now=NOW)
    assert found is None or 0 <= found <= LONGEST_S
