"""`nearfar mcp`."""

import asyncio
import sys
from typing import Annotated

import typer

from nearfar.errors import UsageError

from .context import settings as current_settings
from .interrupts import default_interrupt

app = typer.Typer(help="Serve workflows and tools to other programs.", add_completion=False)


@app.command()
def mcp(
    http: Annotated[
        str | None,
        typer.Option(
            "--http", metavar="HOST:PORT", help="Serve streamable HTTP there, at /mcp; port 0: any."
        ),
    ] = None,
    workflow: Annotated[
        list[str] | None,
        typer.Option("--workflow", metavar="NAME", help="A workflow to serve; may be repeated."),
    ] = None,
    tools: Annotated[
        list[str] | None,
        typer.Option("--tools", metavar="NAMES", help="Tools to serve, with commas between them."),
    ] = None,
) -> None:
    """Serve workflows and tools over the Model Context Protocol.

    Without --http by standard input and output, for a client that starts this command. Without
    --workflow and --tools: all workflows, and the tools that need no further setting.
    """
    from nearfar.tools.mcp import require_mcp

    require_mcp()
    place = _place(http) if http is not None else None
    from nearfar.server.mcp import Offer, mcp_server, serve_http, serve_stdio

    settings = current_settings()
    named = None if tools is None else [n.strip() for part in tools for n in part.split(",") if n]
    server = mcp_server(Offer.of(settings, workflow, named), settings)
    with default_interrupt():
        if place is None:
            asyncio.run(serve_stdio(server))
            return
        own = settings.mcp
        token = own.token.get_secret_value() if own.token else None
        asyncio.run(
            serve_http(server, *place, token=token, hosts=own.hosts, on_ready=_tell_address)
        )


def _tell_address(url: str) -> None:
    sys.stderr.write(f"Serving at {url}\n")
    sys.stderr.flush()


def _place(text: str) -> tuple[str, int]:
    """``HOST:PORT``, ``[ADDRESS]:PORT`` or ``PORT``; without a host this machine alone."""
    host, _, port = text.rpartition(":")
    if not port.isdigit() or int(port) > 65535:
        raise UsageError(
            f"{text!r} is no address to serve on.", remedy="Write it as --http 127.0.0.1:8080."
        )
    return host.strip("[]") or "127.0.0.1", int(port)
