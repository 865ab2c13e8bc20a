"""From a name to its addresses, once for each request."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Awaitable, Callable, Sequence

from .addresses import IPAddress

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""Host and port in, addresses out; raises ``OSError`` where there are none."""

Connector = Callable[[IPAddress, int], tuple[str, int]]
"""Where a connection to a checked address and port is really made: tests lead all to loopback."""


def direct(address: IPAddress, port: int) -> tuple[str, int]:
    """The connector of real requests."""
    return str(address), port


async def system_resolver(host: str, port: int) -> Sequence[str]:
    """What the operating system says.

    In a daemon thread of its own: a look-up cannot be stopped, and one that hangs must not hold up
    the request's time limit or the end of the program.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Sequence[str]] = loop.create_future()

    def look_up() -> None:
        found: list[str] = []
        failed: OSError | None = None
        try:
            found = [
                str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            ]
        except OSError as error:
            failed = error
        except UnicodeError:
            failed = OSError("not a valid name")
        with contextlib.suppress(RuntimeError):  # the loop is gone, and nobody waits
            loop.call_soon_threadsafe(deliver, found, failed)

    def deliver(found: Sequence[str], failed: OSError | None) -> None:
        if answer.done():
            return
        if failed is not None:
            answer.set_exception(failed)
        else:
            answer.set_result(found)

    threading.Thread(target=look_up, name="nearfar-resolver", daemon=True).start()
    return await answer
