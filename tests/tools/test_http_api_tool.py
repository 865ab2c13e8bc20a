"""The tool for an API without a description calls what its list has and nothing else."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from langchain_core.tools import BaseTool

from nearfar.errors import ApprovalRequiredError, ConfigurationError
from nearfar.settings import Settings
from nearfar.tools import tools as tools_by_name
from nearfar.tools.http_api import http_api_tool

from .test_http_api import ALLOW, CLIMBING, call, echo
from .web_world import World

BASE = "http://shop.example/v1/"
OPERATIONS = ["GET /bowls", "* /bowls/*", "GET /parts/**", "POST /bowls/*/fire"]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with World(handler=echo).running() as running:
        yield running


def api(world: World, settings: Settings | None = None) -> BaseTool:
    return http_api_tool(
        BASE,
        OPERATIONS,
        settings or ALLOW,
        secrets={"X-Key": "hush-key"},
        description="The shop.",
        client=world.client(),
    )


@pytest.mark.parametrize(
    ("args", "url"),
    [
        ({"path": "/bowls"}, "/bowls"),
        ({"path": "/bowls", "query": {"q": "a&b", "n": [1, "x"]}}, "/bowls?q=a%26b&n=1&n=x"),
        ({"path": "/bowls/blue bowl"}, "/bowls/blue%20bowl"),
        ({"path": "/parts"}, "/parts"),
        ({"path": "/parts/a/b/c/"}, "/parts/a/b/c/"),
        ({"path": "/bowls/a", "method": "DELETE"}, "/bowls/a"),
        ({"path": "/bowls/a/fire", "method": "POST", "body": {"t": 900}}, "/bowls/a/fire"),
    ],
)
async def test_what_the_list_has_is_called(world: World, args: dict[str, Any], url: str) -> None:
    message = await call(api(world), **args)
    assert message.status == "success", message.content
    request = world.seen[0]
    assert request.url == "http://shop.example/v1" + url
    assert request.method == args.get("method", "GET")
    assert request.body == (json.dumps(args["body"]).encode() if "body" in args else b"")
    assert request.headers["x-key"] == "hush-key"
    assert "hush" not in str(message)


@pytest.mark.parametrize(
    "args",
    [
        {"path": "/"},
        {"path": "/users"},
        {"path": "/bowls", "method": "POST"},
        {"path": "/bowls/a/b"},
        {"path": "/bowls/a?x=1"},
        {"path": "/bowls/a#x"},
        {"path": "/bowls/a%2fb/../../users"},
        {"path": "bowls"},
        {"path": "http://evil.example/bowls"},
        {"path": "//evil.example/bowls"},
        {"path": "/bowls/a", "method": "TRACE"},
        {"path": "/bowls/a", "method": "get"},
        {"path": "/partsx"},
        {"path": "/bowls\n"},
    ],
)
async def test_everything_else_is_refused(world: World, args: dict[str, Any]) -> None:
    message = await call(api(world), **args)
    assert message.status == "error"
    assert world.dialled == []


@pytest.mark.parametrize("value", [value for value in CLIMBING if value not in {"", "/"}])
async def test_no_step_of_the_path_climbs(world: World, value: str) -> None:
    for path in (f"/parts/{value}", f"/parts/{value}/x"):
        message = await call(api(world), path=path)
        assert message.status == "error", path
    assert world.dialled == []


async def test_reading_is_allowed_and_everything_else_asks(world: World) -> None:
    tool = api(world, Settings())
    assert (await call(tool, path="/bowls")).status == "success"
    with pytest.raises(ApprovalRequiredError) as caught:
        await call(tool, path="/bowls/a", method="DELETE")
    assert caught.value.data["description"] == "DELETE http://shop.example/v1/bowls/a"
    assert (await call(tool, path="/users", method="POST")).status == "error"  # nobody is asked
    assert len(world.seen) == 1


@pytest.mark.parametrize("operation", ["/bowls", "GET bowls", "get /bowls", "GET", ""])
def test_an_entry_of_another_form_is_an_error(operation: str) -> None:
    with pytest.raises(ConfigurationError):
        http_api_tool(BASE, [operation])


async def test_the_settings_name_it(world: World) -> None:
    place = {"base_url": f"http://127.0.0.1:{world._places['plain']}", "operations": ["GET /a"]}
    settings = Settings.model_validate({"tools": {"apis": {"shop": place}}})
    (tool,) = tools_by_name(["http_api"], settings)
    assert tool.name == "shop"
    assert (await call(tool, path="/a")).status == "success"
    with pytest.raises(ValueError, match="an API needs spec"):
        Settings.model_validate({"tools": {"apis": {"shop": {"base_url": "http://x.example"}}}})
