"""The network is off in tests: this shows that the guard in conftest bites."""

import asyncio
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from .conftest import network_guard

FAR = "192.0.2.1"  # an address that documents use and nobody has


def test_connecting_far_is_blocked() -> None:
    with (
        socket.socket() as one,
        pytest.raises(network_guard.NetworkBlockedError, match="network is off"),
    ):
        one.connect((FAR, 80))


def test_sending_a_datagram_far_is_blocked() -> None:
    with (
        socket.socket(type=socket.SOCK_DGRAM) as one,
        pytest.raises(network_guard.NetworkBlockedError),
    ):
        one.sendto(b"x", (FAR, 53))


def test_looking_up_a_name_is_blocked() -> None:
    with pytest.raises(network_guard.NetworkBlockedError, match="look-ups"):
        socket.getaddrinfo("pypi.org", 443)
    with pytest.raises(network_guard.NetworkBlockedError):
        socket.gethostbyname("pypi.org")


def test_urllib_is_blocked() -> None:
    with pytest.raises(network_guard.NetworkBlockedError):
        urllib.request.urlopen("http://pypi.org/")


async def test_asyncio_is_blocked() -> None:
    with pytest.raises(network_guard.NetworkBlockedError):
        await asyncio.open_connection("pypi.org", 443)


def test_children_are_blocked_too() -> None:
    code = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=5)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert "NetworkBlockedError" in done.stderr


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_loopback_works(host: str) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection((host, server.getsockname()[1]), timeout=10) as client,
    ):
        peer, _ = server.accept()
        with peer:
            client.sendall(b"x")
            assert peer.recv(1) == b"x"


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="this system has no Unix sockets")
def test_unix_sockets_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a Unix socket's path may have about 100 characters
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind("s")
        server.listen()
        client.connect("s")
