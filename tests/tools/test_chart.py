"""`chart` makes Vega-Lite that Altair accepts, of any column names, and nothing else."""

import base64
from typing import Any

import pytest
from langchain_core.tools import BaseTool
from langchain_tests.integration_tests import ToolsIntegrationTests
from langchain_tests.unit_tests import ToolsUnitTests

from nearfar.errors import ToolFailedError, ToolLimitError
from nearfar.settings import Settings
from nearfar.tools import tool
from nearfar.tools.chart import MAX_ROWS, specification

ROWS = [{"month": "May", "sales": 3, "shop": "a"}, {"month": "June", "sales": 4.5, "shop": "b"}]
CALL = {"rows": ROWS, "x": "month", "y": "sales"}


class _Example:
    @property
    def tool_constructor(self) -> BaseTool:
        return tool("chart", Settings())

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return CALL


class TestUnit(_Example, ToolsUnitTests):
    pass


class TestIntegration(_Example, ToolsIntegrationTests):
    pass


def call(**arguments: Any) -> Any:
    made = {"type": "tool_call", "name": "chart", "id": "c", "args": {**CALL, **arguments}}
    return tool("chart", Settings()).invoke(made)


@pytest.mark.parametrize("kind", ["bar", "line", "point", "area", "pie"])
def test_each_kind_is_vega_lite_with_all_rows(kind: str) -> None:
    message = call(kind=kind, color="shop")
    spec = message.artifact["data"]["spec"]
    assert message.status == "success"
    assert "vega-lite" in spec["$schema"]
    assert [value["c1"] for value in spec["data"]["values"]] == [3, 4.5]


@pytest.mark.parametrize("name", ["a.b", "a[0]", "a:Q", "$", "sales (USD)", "'\"<script>"])
def test_a_columns_name_is_text_whatever_it_holds(name: str) -> None:
    spec = specification([{"x": "a", name: 1}, {"x": "b", name: 2}], "x", name)
    assert spec["encoding"]["y"]["title"] == name
    assert spec["data"]["values"] == [{"c0": "a", "c1": 1}, {"c0": "b", "c1": 2}]


def test_pictures_are_drawn_on_this_machine() -> None:
    assert call(format="svg").artifact["data"]["svg"].startswith("<svg")
    png = base64.b64decode(call(format="png").artifact["data"]["png"])
    assert png.startswith(b"\x89PNG")


def test_what_cannot_be_drawn_is_told_to_the_model() -> None:
    assert "no column 'cost'" in call(y="cost").text
    assert "does not hold numbers" in call(y="month").text
    assert call(rows=[]).status == "error"
    with pytest.raises(ToolLimitError):
        specification([{"x": "a", "y": 1}] * (MAX_ROWS + 1), "x", "y")
    with pytest.raises(ToolFailedError):
        specification([{"x": "a", "y": "b"}], "x", "y")


def test_values_that_json_does_not_know_are_made_plain() -> None:
    rows = [{"x": "a", "y": float("nan")}, {"x": "b", "y": 1.5}]
    assert specification(rows, "x", "y")["data"]["values"][0]["c1"] is None
