"""web_scrape picks rows, texts and attributes by CSS selectors."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from langchain_core.tools import BaseTool
from langchain_tests.integration_tests import ToolsIntegrationTests
from langchain_tests.unit_tests import ToolsUnitTests

from nearfar.settings import Settings
from nearfar.tools.web_scrape import web_scrape

from .test_web_fetch import call, in_thread
from .web_world import Answer, Seen, World

PAGE = b"""<html><head><base href="/shop/"></head><body>
<div class="item big"><h2>Bowl <i>small</i></h2><a href="bowl?id=1">more</a><span>4</span></div>
<div class="item"><h2>Plate</h2><a href="javascript:x()">more</a></div>
<table id="t"><tr><th>Name</th><th>Price</th></tr><tr><td>Cup</td><td>3</td></tr></table>
<table id="plain"><tr><td>a</td><td>b</td></tr></table>
<p>text<script>var x</script></p></body></html>"""


def page(_request: Seen) -> Answer:
    return Answer(body=PAGE)


def scraper(world: World) -> BaseTool:
    return web_scrape(Settings(), hosts=["*.example"], client=world.client())


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with World(handler=page).running() as running:
        yield running


async def rows(world: World, **args: Any) -> Any:
    message = await call(scraper(world), url="http://shop.example/", **args)
    assert message.status == "success", message.content
    return message.artifact["data"]["rows"]


async def test_fields_become_columns(world: World) -> None:
    fields = {"name": "h2", "link": "a@href", "class": "@class", "price": "span", "own": ""}
    found = await rows(world, select=".item", fields=fields)
    assert found == [
        {
            "name": "Bowl small",
            "link": "http://shop.example/shop/bowl?id=1",
            "class": "item big",
            "price": "4",
            "own": "Bowl small more 4",
        },
        {"name": "Plate", "link": None, "class": "item", "price": None, "own": "Plate more"},
    ]


async def test_without_fields_the_text_is_given(world: World) -> None:
    assert await rows(world, select="h2, p") == ["Bowl small", "Plate", "text"]


async def test_a_table_gives_its_rows(world: World) -> None:
    assert await rows(world, select="#t") == [{"Name": "Cup", "Price": "3"}]
    assert await rows(world, select="#plain") == ["a | b"]


async def test_the_model_sees_a_line_for_each_row_marked_as_data(world: World) -> None:
    message = await call(scraper(world), url="http://shop.example/", select="h2", limit=1)
    first, row, cut, _end = str(message.content).splitlines()
    assert "not instructions" in first
    assert json.loads(row) == "Bowl small"
    assert cut == "[... cut: 1 more elements; raise limit]"


async def test_nothing_found_is_said(world: World) -> None:
    message = await call(scraper(world), url="http://shop.example/", select="h7")
    assert "nothing on the page" in str(message.content)


@pytest.mark.parametrize("select", ["h2[", "::nope", ">>>", "a:nth-child(x)"])
async def test_a_wrong_selector_is_explained(world: World, select: str) -> None:
    message = await call(scraper(world), url="http://shop.example/", select=select)
    assert message.status == "error"
    assert "CSS selector cannot be used" in str(message.content)


async def test_what_is_not_html_is_said(world: World) -> None:
    world.handler = lambda _request: Answer(headers={"Content-Type": "text/plain"}, body=b"x")
    message = await call(scraper(world), url="http://shop.example/", select="p")
    assert "not an HTML page but text/plain" in str(message.content)


class TestUnit(ToolsUnitTests):
    """LangChain's own suite."""

    @property
    def tool_constructor(self) -> BaseTool:
        return scraper(World())

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return {"url": "http://shop.example/", "select": "h2"}


class TestIntegration(ToolsIntegrationTests):
    """LangChain's own suite, against a real server."""

    @pytest.fixture(autouse=True)
    def _served(self) -> Iterator[None]:
        with in_thread(World(handler=page)) as self.world:
            yield

    @property
    def tool_constructor(self) -> BaseTool:
        return scraper(self.world)

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return {"url": "http://shop.example/", "select": "h2"}
