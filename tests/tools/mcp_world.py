"""A server made with the official SDK, for the tests of our client.

Run as a program it serves standard input and output, or with ``--http`` a port that it prints.
``--says FILE``: a JSON file with the descriptions of further tools, by name.
"""

import argparse
import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from mcp.server import MCPServer
from mcp.server.mcpserver import Context

server = MCPServer("world")


@server.tool()
def weigh(what: str, unit: str = "kg") -> str:
    """Weighs something."""
    return f"{what}: 3 {unit}"


@server.tool()
def fail(why: str) -> str:
    """Fails."""
    raise ValueError(why)


@server.tool()
def much(chars: int) -> str:
    """Says a lot."""
    return "x" * chars


@server.tool()
def die() -> str:
    """Ends the server."""
    os._exit(3)


@server.tool()
def whoami(name: str) -> str:
    """A variable of the environment."""
    return os.environ.get(name, "not set")


def _note(mark: str, text: str) -> None:
    Path(mark).write_text(text, encoding="utf-8")


@server.tool()
async def wait(mark: str, context: Context) -> str:
    """Waits until it is cancelled, and notes that in a file."""
    _note(mark, "begun")
    try:
        await asyncio.Event().wait()
    except BaseException:
        _note(mark, "cancelled")
        raise
    return "never"


@server.tool()
def pid() -> str:
    """The number of its process."""
    return str(os.getpid())


def _speaker(name: str, text: str) -> Any:
    def say(x: int = 0) -> str:
        return f"{name} {x}"

    return server.tool(name=name, description=text)(say)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--http", action="store_true")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--says", type=Path)
    options = parser.parse_args()
    if options.says:
        for name, text in json.loads(options.says.read_text(encoding="utf-8")).items():
            _speaker(name, text)
    if not options.http:
        server.run("stdio")
        return
    import socket

    import uvicorn

    listening = socket.create_server(("127.0.0.1", options.port))
    sys.stdout.write(f"{listening.getsockname()[1]}\n")
    sys.stdout.flush()
    config = uvicorn.Config(server.streamable_http_app(), log_level="error")
    asyncio.run(uvicorn.Server(config).serve(sockets=[listening]))


if __name__ == "__main__":
    main()
