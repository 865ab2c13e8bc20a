"""Blocks the network: imported by conftest, and by every Python child through PYTHONPATH.

An audit hook sees every socket call of CPython, whichever library makes it. Loopback addresses and
Unix sockets pass. Native code that makes its own system calls is not seen (tests of the worker
process look at it from outside).
"""

import ipaddress
import sys
from typing import Any


class NetworkBlockedError(RuntimeError):
    """A test (or its child) tried to reach another machine."""


def _is_near(host: object) -> bool:
    if host is None or host in ("", b"", "localhost", b"localhost"):
        return True
    text = host.decode("ascii", "replace") if isinstance(host, bytes) else str(host)
    try:
        return ipaddress.ip_address(text.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _check_address(address: object) -> None:
    # A tuple is (host, port, ...); a str or bytes is the path of a Unix socket.
    if isinstance(address, tuple) and address and not _is_near(address[0]):
        raise NetworkBlockedError(f"the network is off in tests: {address!r}")


def _check_name(host: object) -> None:
    if not _is_near(host):
        raise NetworkBlockedError(f"the network is off in tests, name look-ups too: {host!r}")


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        _check_address(args[1])
    elif event in ("socket.getaddrinfo", "socket.gethostbyname") or event == "socket.gethostbyaddr":
        _check_name(args[0])


sys.addaudithook(_hook)
