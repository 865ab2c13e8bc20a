"""Tools are found by name."""

import pytest

from nearfar.errors import ToolNotFoundError, UsageError
from nearfar.settings import Settings
from nearfar.tools import names, tool, tools


def test_an_unknown_name_and_an_unknown_option_are_told() -> None:
    with pytest.raises(ToolNotFoundError, match="'calculater'") as caught:
        tool("calculater", Settings())
    assert "calculator" in caught.value.data["known"]
    with pytest.raises(UsageError, match="no such option"):
        tool("calculator", Settings(), rots=[])


def test_a_group_stands_for_its_tools() -> None:
    settings = Settings.model_validate({"tools": {"files": {"roots": ["."]}}})
    made = tools(["calculator", "files", "files_read"], settings)
    assert [one.name for one in made] == [
        "calculator", "files_list", "files_read", "files_search", "files_write", "files_edit",
    ]  # fmt: skip
    with pytest.raises(UsageError, match="5 tools"):
        tool("files", settings)


def test_limits_given_win_over_the_settings() -> None:
    made = tool("calculator", Settings(), timeout_s=3, max_output_chars=200)
    assert made.guard.limits.timeout_s == 3  # type: ignore[attr-defined]
    assert names() == sorted(names())
