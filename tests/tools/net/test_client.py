"""What the guarded client sends, follows and refuses."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from nearfar.errors import FetchError, UrlRefusedError
from nearfar.tools.net import NetLimits, NetPolicy
from tests.tools.web_world import Answer, World

KEY = {"Authorization": "Bearer hush", "X-Key": "hush"}


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with World().running() as running:
        yield running


@pytest.mark.parametrize(
    ("to", "kept"),
    [
        ("/next", True),
        ("http://a.example:80/next", True),
        ("http://b.example/next", False),
        ("http://sub.a.example/next", False),
        ("http://a.example:8080/next", False),
    ],
)
async def test_credentials_stay_with_their_origin(world: World, to: str, kept: bool) -> None:
    world.redirects["http://a.example/"] = (302, to)
    await world.client().get("http://a.example/", KEY)
    assert ("hush" in str(world.seen[1].headers)) is kept


async def test_credentials_do_not_come_back_with_a_redirect_home(world: World) -> None:
    """Else another server could choose what is asked for with them."""
    world.redirects["http://a.example/"] = (302, "http://b.example/")
    world.redirects["http://b.example/"] = (302, "http://a.example/delete")
    await world.client().get("http://a.example/", KEY)
    assert [("hush" in str(seen.headers)) for seen in world.seen] == [True, False, False]


@pytest.mark.parametrize(
    ("status", "method", "becomes", "body"),
    [
        (301, "POST", "GET", b""),
        (302, "POST", "GET", b""),
        (303, "PUT", "GET", b""),
        (307, "POST", "POST", b"data"),
        (308, "PUT", "PUT", b"data"),
    ],
)
async def test_redirects_change_the_method_as_browsers_do(
    world: World, status: int, method: str, becomes: str, body: bytes
) -> None:
    world.redirects["http://a.example/"] = (status, "/x")
    await world.client().request(method, "http://a.example/", body=b"data")
    assert (world.seen[1].method, world.seen[1].body) == (becomes, body)


async def test_a_body_is_not_redirected_to_another_server(world: World) -> None:
    world.redirects["http://a.example/"] = (307, "http://b.example/")
    with pytest.raises(UrlRefusedError):
        await world.client().request("POST", "http://a.example/", body=b"data")
    assert len(world.seen) == 1


async def test_hops_are_counted(world: World) -> None:
    world.redirects = {
        f"http://a.example/{n}": (302, f"http://a.example/{n + 1}") for n in range(3)
    }
    reply = await world.client(limits=NetLimits(max_hops=3)).get("http://a.example/0")
    assert reply.hops == tuple(f"http://a.example/{n}" for n in range(3))
    with pytest.raises(FetchError) as caught:
        await world.client(limits=NetLimits(max_hops=2)).get("http://a.example/0")
    assert caught.value.data["reason"] == "redirects"


async def test_a_body_at_the_limit_is_whole_and_one_byte_more_is_cut(world: World) -> None:
    client = world.client(limits=NetLimits(max_bytes=100))
    for size, cut in ((99, False), (100, False), (101, True)):
        world.handler = lambda _request, size=size: Answer(body=b"x" * size)
        reply = await client.get("http://a.example/")
        assert (len(reply.body), reply.cut) == (min(size, 100), cut)


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "127.0.0.1"},
        {"host": "x"},
        {"Transfer-Encoding": "chunked"},
        {"Connection": "upgrade"},
        {"X-A": "b\r\nHost: c"},
        {"X-A\r\nB": "c"},
        {"X-A": "b\0"},
    ],
)
async def test_headers_cannot_change_the_request(world: World, headers: dict[str, str]) -> None:
    with pytest.raises(UrlRefusedError):
        await world.client().get("http://a.example/", headers)
    assert world.dialled == []


async def test_another_address_is_tried_where_one_does_not_answer(world: World) -> None:
    world.answers["a.example"] = [["8.8.8.8", "93.184.215.14"]]
    whole, world.connector = world.connector, None  # type: ignore[method-assign,assignment]

    def connector(address: Any, port: int) -> tuple[str, int]:
        return ("127.0.0.1", 1) if str(address) == "8.8.8.8" else whole(address, port)

    world.connector = connector  # type: ignore[method-assign]
    assert (await world.client().get("http://a.example/")).status == 200
    world.answers["b.example"] = [["8.8.8.8"]]
    with pytest.raises(FetchError) as caught:
        await world.client().get("http://b.example/")
    assert caught.value.data["reason"] == "connection"


async def test_a_name_that_is_not_found_is_said(world: World) -> None:
    async def resolver(host: str, port: int) -> list[str]:
        raise OSError("no such name")

    world.resolver = resolver  # type: ignore[method-assign]
    with pytest.raises(FetchError) as caught:
        await world.client().get("http://a.example/?key=hush")
    assert caught.value.data["reason"] == "name"
    assert "hush" not in str(caught.value) + str(caught.value.data)


class TestPolicy:
    """Private servers and lists of hosts."""

    @pytest.mark.parametrize(
        ("origin", "url"),
        [
            ("http://127.0.0.1:8000", "http://127.0.0.1:8000/x"),
            ("http://localhost:8000", "http://LOCALHOST:8000/x"),
            ("http://[::1]:99/", "http://[::1]:99/x"),
            ("http://169.254.169.254", "http://169.254.169.254/x"),
            ("https://10.0.0.1", "https://10.0.0.1:443/"),
        ],
    )
    def test_a_private_origin_that_is_named_is_reached(self, origin: str, url: str) -> None:
        from nearfar.tools.net import parse_url

        NetPolicy(private_origins=(origin,)).check(parse_url(url))

    @pytest.mark.parametrize(
        "url",
        [
            *("http://127.0.0.1:8001/", "https://127.0.0.1:8000/", "http://127.0.0.2:8000/"),
            *("http://localhost:8000/", "http://127.0.0.1/"),
        ],
    )
    async def test_its_neighbours_are_not(self, world: World, url: str) -> None:
        client = world.client(NetPolicy(private_origins=("http://127.0.0.1:8000",)))
        with pytest.raises(UrlRefusedError):
            await client.get(url)
        assert world.dialled == []

    async def test_a_private_name_does_not_open_the_metadata_service(self, world: World) -> None:
        world.answers["wiki.corp.internal"] = [["169.254.169.254"]]
        client = world.client(NetPolicy(private_origins=("http://wiki.corp.internal",)))
        with pytest.raises(UrlRefusedError):
            await client.get("http://wiki.corp.internal/")
        world.answers["wiki.corp.internal"] = [["10.0.0.7"]]
        with pytest.raises(FetchError):  # the canary hangs up
            await client.get("http://wiki.corp.internal/")
        assert world.dialled == [("10.0.0.7", 80)]

    @pytest.mark.parametrize(
        ("host", "fits"),
        [
            *(("a.example", True), ("A.EXAMPLE.", True), ("x.b.example", True)),
            *(("y.x.b.example", True), ("b.example", False), ("xb.example", False)),
            *(("a.example.evil.test", False), ("münchen.de", True)),
        ],
    )
    async def test_only_listed_hosts_are_reached(self, world: World, host: str, fits: bool) -> None:
        policy = NetPolicy(hosts=("a.example", "*.b.example", "MÜNCHEN.de"))
        if fits:
            assert (await world.client(policy).get(f"http://{host}/")).status == 200
        else:
            with pytest.raises(UrlRefusedError):
                await world.client(policy).get(f"http://{host}/")
            assert world.dialled == []

    @pytest.mark.parametrize("wrong", ["127.0.0.1:8000", "ftp://x", "http://a@b/"])
    def test_a_wrong_entry_is_an_error_at_once(self, wrong: str) -> None:
        with pytest.raises(UrlRefusedError):
            NetPolicy(private_origins=(wrong,))


async def test_a_cancelled_request_leaves_nothing_open(world: World) -> None:
    world.serve = "silent"
    task = asyncio.create_task(world.client().get("http://a.example/"))
    await world.arrived.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_system_look_up_that_fails_is_an_error(world: World) -> None:
    """The system's resolver, asked about this machine only."""
    from nearfar.tools.net import system_resolver

    assert set(await system_resolver("localhost", 80)) <= {"127.0.0.1", "::1"}
    with pytest.raises(UrlRefusedError):
        await world.client(NetPolicy()).get("http://localhost/")
