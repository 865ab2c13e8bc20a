"""Which exceptions say for sure that nothing was done."""

import socket
import ssl
from collections.abc import Iterator

# Classes of HTTP libraries (none of which need be installed): the connection was never made.
_NEVER_CONNECTED = frozenset(
    {
        "ConnectError",  # httpx
        "ConnectTimeout",  # httpx, requests
        "PoolTimeout",
        "UnsupportedProtocol",
        "ClientConnectorError",  # aiohttp
        "ConnectionTimeoutError",
        "NewConnectionError",  # urllib3
        "ConnectTimeoutError",
        "NameResolutionError",
        "InvalidURL",
        "MissingSchema",
    }
)
_UNSURE_STATUS = frozenset({408})


def surely_not_done(error: BaseException) -> bool:
    """Whether the far side was never reached, or answered that it refused (HTTP 4xx).

    Everything else may have happened after the far side had done its part: silence, a broken
    connection, a 5xx, and any error of the code that reads the answer.
    """
    for link in _chain(error):
        names = {kind.__name__ for kind in type(link).__mro__}
        if isinstance(
            link, ConnectionRefusedError | socket.gaierror | ssl.SSLCertVerificationError
        ):
            return True
        if names & _NEVER_CONNECTED:
            return True
        status = _status(link, names)
        if status is not None:
            return 400 <= status < 500 and status not in _UNSURE_STATUS
    return False


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what caused it; urllib hides the cause in ``reason``."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        link = waiting.pop(0)
        if link is None or id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        reason = getattr(link, "reason", None)
        waiting += [link.__cause__, reason if isinstance(reason, BaseException) else None]


def _status(error: BaseException, names: set[str]) -> int | None:
    response = getattr(error, "response", None)
    found = getattr(response, "status_code", None)
    if found is None and "ClientResponseError" in names:  # aiohttp
        found = getattr(error, "status", None)
    if found is None and "HTTPError" in names:  # urllib
        found = getattr(error, "code", None)
    return found if isinstance(found, int) else None
