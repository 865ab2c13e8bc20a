"""http_api: one tool for each operation; the model changes neither server, path nor keys."""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from langchain_tests.integration_tests import ToolsIntegrationTests
from langchain_tests.unit_tests import ToolsUnitTests

from nearfar.errors import ApiDescriptionError, ApprovalRequiredError, ConfigurationError
from nearfar.settings import Settings
from nearfar.tools import tools as tools_by_name
from nearfar.tools.http_api import http_api_tools

from .test_web_fetch import in_thread
from .web_world import Answer, Seen, World

SPEC = Path(__file__).parent / "data" / "shop_api.yaml"
SECRETS = {
    "token": "hush-token",
    "basic": "me:hush-password",
    "key": "hush-key",
    "queryKey": "hush/query key",
    "cookieKey": "hush-cookie",
}
ALLOW = Settings.model_validate({"tools": {"permissions": [{"tool": "*", "permission": "allow"}]}})


def echo(request: Seen) -> Answer:
    said = {"method": request.method, "url": request.url, "headers": dict(request.headers)}
    return Answer(headers={"Content-Type": "application/json"}, body=json.dumps(said).encode())


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with World(handler=echo).running() as running:
        yield running


def shop(world: World, settings: Settings | None = None, **options: Any) -> dict[str, BaseTool]:
    options = {"secrets": SECRETS} | options
    made = http_api_tools(SPEC, settings or ALLOW, client=world.client(), **options)
    return {tool.name: tool for tool in made}


async def call(tool: BaseTool, **args: Any) -> ToolMessage:
    message = await tool.ainvoke(
        {"name": tool.name, "args": args, "id": "call-1", "type": "tool_call"}
    )
    assert isinstance(message, ToolMessage)
    return message


def test_each_operation_that_json_can_call_is_a_tool() -> None:
    assert list(shop(World())) == [
        *("listBowls", "add_bowl", "getBowl", "deleteBowl", "getPart"),
        *("basic", "queryKey", "cookieKey", "both", "get_no_id_x"),
    ]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (["GET /bowls"], ["listBowls"]),
        (["GET /bowls/*"], ["getBowl", "getPart"]),
        (["* /bowls/{id}"], ["getBowl", "deleteBowl"]),
        (["add-bowl", "basic"], ["add_bowl", "basic"]),
    ],
)
def test_only_what_is_wanted_is_made(wanted: list[str], expected: list[str]) -> None:
    assert list(shop(World(), operations=wanted)) == expected


@pytest.mark.parametrize("wanted", ["GET /nothing", "upload", "get /bowls"])
def test_a_pattern_without_an_operation_is_an_error(wanted: str) -> None:
    with pytest.raises(ApiDescriptionError, match="no operation"):
        shop(World(), operations=[wanted])


def test_the_model_sees_the_schemas_of_the_file() -> None:
    shown = convert_to_openai_tool(shop(World())["add_bowl"])["function"]
    assert shown["description"] == "Add a bowl."
    body = shown["parameters"]["properties"]["body"]
    assert shown["parameters"]["required"] == ["body"]
    assert body["required"] == ["name"]
    assert body["properties"] == {
        "name": {"type": "string", "maxLength": 20},
        "price": {"type": ["number", "null"], "exclusiveMinimum": 0},
        "inside": {},
    }


async def test_parameters_go_where_they_belong(world: World) -> None:
    message = await call(
        shop(world)["listBowls"],
        filter_colour="red",
        tags=["a&b", "c"],
        sizes=[1, 2],
        where={"x": "y=z"},
        glazed=True,
        X_Request_ID="r1",
        config_query="c",
    )
    assert message.status == "success", message.content
    request = world.seen[0]
    assert request.url == (
        "http://eu.shop.example/v1/bowls?filter[colour]=red&tags=a%26b&tags=c&sizes=1%2C2"
        "&where[x]=y%3Dz&glazed=true&config=c"
    )
    assert request.headers["x-request-id"] == "r1"
    assert "authorization" not in request.headers


async def test_a_body_is_sent_as_json(world: World) -> None:
    await call(shop(world)["add_bowl"], body={"name": "Schüssel", "price": 4.5})
    request = world.seen[0]
    assert (request.method, request.headers["content-type"]) == ("POST", "application/json")
    assert json.loads(request.body) == {"name": "Schüssel", "price": 4.5}


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("add_bowl", {"body": {"price": 1}}),
        ("add_bowl", {"body": {"name": "x", "more": 1}}),
        ("add_bowl", {"body": {"name": "x", "price": 0}}),
        ("add_bowl", {}),
        ("listBowls", {"filter_colour": "blue"}),
        ("listBowls", {"base_url": "http://evil.example"}),
        ("getBowl", {}),
        ("getBowl", {"id": "a", "X-Key": "b"}),
    ],
)
async def test_arguments_that_do_not_fit_reach_nothing(
    world: World, name: str, args: dict[str, Any]
) -> None:
    message = await call(shop(world)[name], **args)
    assert message.status == "error"
    assert world.seen == []


CLIMBING = [
    *("..", ".", "../admin", "a/../../admin", "..\\admin", "%2e%2e", "%2E%2E/admin", ".%2e"),
    *("%252e%252e", "%252e%252e%252fadmin", "..%2fadmin", "..%5cadmin", "", "/", "//evil.example"),
    *(
        "a//b",
        "..;/admin",
        "..;x=1",
        "%2e%2e;",
        "a\r\nHost: evil",
        "a\0",
        "a%00",
        "a%0d%0ab",
        " .. ",
    ),
]


@pytest.mark.parametrize("value", CLIMBING)
async def test_a_path_parameter_cannot_climb(world: World, value: str) -> None:
    message = await call(shop(world)["getBowl"], id=value)
    assert message.status == "error"
    assert world.seen == []


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ("a b", "a%20b"),
        ("owner/name", "owner%2Fname"),
        ("x?y=1#z", "x%3Fy%3D1%23z"),
        ("{part}", "%7Bpart%7D"),
        ("@evil.example", "%40evil.example"),
        ("ü..x", "%C3%BC..x"),
        ("50%", "50%25"),
    ],
)
async def test_a_path_parameter_is_one_step_of_the_path(
    world: World, value: str, path: str
) -> None:
    await call(shop(world)["getPart"], id=value, part="lid")
    assert world.seen[0].url == f"http://eu.shop.example/v1/bowls/{path}/parts/lid.json"


@pytest.mark.parametrize(
    ("name", "args", "header", "expected"),
    [
        ("getBowl", {"id": "a"}, "authorization", "Bearer hush-token"),
        ("basic", {}, "authorization", "Basic bWU6aHVzaC1wYXNzd29yZA=="),
        ("getPart", {"id": "a", "part": "b"}, "x-key", "hush-key"),
        ("cookieKey", {}, "cookie", "session=hush-cookie"),
    ],
)
async def test_keys_are_sent_and_never_shown(
    world: World, name: str, args: dict[str, Any], header: str, expected: str
) -> None:
    """The server repeats all that it was sent."""
    message = await call(shop(world)[name], **args)
    assert world.seen[0].headers[header] == expected
    assert "hush" not in str(message)
    assert "bWU6aHVzaC1wYXNzd29yZA" not in str(message)


@pytest.mark.parametrize("name", ["queryKey", "both"])
async def test_a_key_in_the_query_is_never_shown(world: World, name: str) -> None:
    message = await call(shop(world)[name])
    assert world.seen[0].url.endswith("?api_key=hush%2Fquery%20key")
    assert "hush" not in str(message)


async def test_keys_are_not_in_errors_schemas_or_reprs(world: World, home_folder: Path) -> None:
    world.handler = lambda request: Answer(403, body=f"no: {request.headers}".encode())
    made = shop(world)
    message = await call(made["getBowl"], id="a")
    assert message.status == "error"
    assert "status 403" in str(message.content)
    assert "<<<data" in str(message.content)
    everything = str(message) + repr(made) + str([convert_to_openai_tool(t) for t in made.values()])
    assert "hush" not in everything + (home_folder / "audit.jsonl").read_text()


async def test_a_missing_key_is_said_before_anything_is_sent(world: World) -> None:
    made = shop(world, secrets={"queryKey": "x"})
    assert "needs a key that was not given (key or token)" in str(
        (await call(made["getPart"], id="a", part="b")).content
    )
    assert "(key with queryKey)" in str((await call(made["both"])).content)
    assert world.seen == []
    assert (await call(made["listBowls"])).status == "success"
    assert (await call(made["get_no_id_x"], x="y")).status == "success"


def test_a_key_for_a_scheme_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="no security scheme 'tokens'"):
        shop(World(), secrets={"tokens": "x"})


async def test_reading_is_allowed_and_everything_else_asks(world: World) -> None:
    made = shop(world, Settings())
    assert (await call(made["listBowls"])).status == "success"
    assert (await call(made["getBowl"], id="a")).status == "success"
    with pytest.raises(ApprovalRequiredError) as caught:
        await call(made["add_bowl"], body={"name": "x"})
    assert caught.value.data["description"] == (
        'POST http://eu.shop.example/v1/bowls\n{"name": "x"}'
    )
    with pytest.raises(ApprovalRequiredError):
        await call(made["deleteBowl"], id="a")
    assert len(world.seen) == 2


@pytest.mark.parametrize("to", ["http://evil.example/", "https://eu.shop.example/", "//x.example/"])
async def test_a_redirect_to_another_server_is_refused(world: World, to: str) -> None:
    """So keys and bodies stay with the server that they were given for."""
    world.redirects["http://eu.shop.example/v1/bowls/a"] = (307, to)
    message = await call(shop(world)["getBowl"], id="a")
    assert message.status == "error"
    assert len(world.seen) == 1


async def test_a_redirect_on_the_same_server_is_followed_with_the_key(world: World) -> None:
    world.redirects["http://eu.shop.example/v1/bowls/a"] = (302, "/v2/bowls/a")
    message = await call(shop(world)["getBowl"], id="a")
    assert message.status == "success"
    assert world.seen[1].headers["authorization"] == "Bearer hush-token"


def with_server(url: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(SPEC.read_text("utf-8"))
    return document | {"servers": [{"url": url}]}


@pytest.mark.parametrize(
    "url",
    [
        *("/v1", "http://127.0.0.1:8000/", "http://169.254.169.254/", "http://localhost/"),
        *("file:///etc", "http://user:pw@x.example/", "http://2130706433/", "http://{region}/"),
    ],
)
def test_a_server_of_the_file_must_be_public(url: str) -> None:
    with pytest.raises(ApiDescriptionError, match="serve"):
        http_api_tools(with_server(url), ALLOW)


async def test_a_private_server_is_reached_when_the_user_names_it(world: World) -> None:
    """With the real connector, to a real server on loopback."""
    base = f"http://127.0.0.1:{world._places['plain']}/api/"
    made = http_api_tools(SPEC, ALLOW, base_url=base, operations=["listBowls"])
    assert (await call(made[0])).status == "success"
    assert world.seen[0].url == f"{base}bowls"


async def test_a_name_of_the_file_that_leads_inside_is_refused(world: World) -> None:
    world.answers["eu.shop.example"] = [["10.0.0.1"]]
    message = await call(shop(world)["listBowls"])
    assert "leads to a private address" in str(message.content)
    assert world.dialled == []


async def test_the_settings_name_apis(world: World, tmp_path: Path) -> None:
    base = f"http://127.0.0.1:{world._places['plain']}"
    api = {
        "spec": str(SPEC),
        "base_url": base,
        "operations": ["getBowl"],
        "secrets": {"token": "x"},
    }
    settings = Settings.model_validate({"tools": {"apis": {"shop": api}}})
    (tool,) = tools_by_name(["http_api"], settings)
    assert tool.name == "shop_getBowl"
    assert (await call(tool, id="a")).status == "success"
    assert world.seen[0].headers["authorization"] == "Bearer x"


BROKEN: list[tuple[Any, str]] = [
    ({"swagger": "2.0"}, "OpenAPI 3"),
    ({"openapi": "3.0.0", "paths": []}, "/paths"),
    ({"openapi": "3.1.0"}, "no operation"),
    ({"openapi": "3.0.0", "paths": {"/a/{b}": {"get": {}}}}, "'b' is not described"),
    ({"openapi": "3.0.0", "paths": {"/a": {"$ref": "other.yaml#/a"}}}, "within the file"),
    ({"openapi": "3.0.0", "paths": {"/a": {"$ref": "#/nowhere"}}}, "leads nowhere"),
    ({"openapi": "3.0.0", "paths": {"/a": {"$ref": "#/paths/~1a"}}}, "refers to itself"),
]


@pytest.mark.parametrize(("document", "said"), BROKEN, ids=[said for _, said in BROKEN])
def test_a_broken_description_names_its_place(document: Any, said: str) -> None:
    with pytest.raises(ApiDescriptionError, match=said) as caught:
        http_api_tools(document, ALLOW)
    assert "pointer" in caught.value.data


@pytest.mark.parametrize("text", ["{", "\t- x: [", "just text", "", "\x00"])
def test_a_file_that_is_no_description_is_an_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "api.yaml"
    path.write_text(text)
    with pytest.raises(ApiDescriptionError):
        http_api_tools(path, ALLOW)
    with pytest.raises(ApiDescriptionError, match="could not be opened"):
        http_api_tools(tmp_path / "none.json", ALLOW)


def test_references_that_multiply_are_stopped() -> None:
    """Each schema holds the next one ten times."""
    schemas: dict[str, Any] = {
        f"s{n}": {"anyOf": [{"$ref": f"#/components/schemas/s{n + 1}"}] * 10} for n in range(12)
    }
    schemas["s12"] = {"type": "string"}
    parameter = {"name": "x", "in": "query", "schema": {"$ref": "#/components/schemas/s0"}}
    document = {
        "openapi": "3.1.0",
        "servers": [{"url": "https://x.example"}],
        "paths": {"/a": {"get": {"parameters": [parameter]}}},
        "components": {"schemas": schemas},
    }
    with pytest.raises(ApiDescriptionError, match="too large"):
        http_api_tools(document, ALLOW)


class TestUnit(ToolsUnitTests):
    """LangChain's own suite."""

    @property
    def tool_constructor(self) -> BaseTool:
        return shop(World())["add_bowl"]

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return {"body": {"name": "x"}}


class TestIntegration(ToolsIntegrationTests):
    """LangChain's own suite, against a real server."""

    @pytest.fixture(autouse=True)
    def _served(self) -> Iterator[None]:
        with in_thread(World(handler=echo)) as self.world:
            yield

    @property
    def tool_constructor(self) -> BaseTool:
        return shop(self.world)["add_bowl"]

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return {"body": {"name": "x"}}
