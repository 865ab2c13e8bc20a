"""Nearfar as a server of the Model Context Protocol, and as its client.

    python examples/mcp_both_ways.py

It starts `nearfar mcp` as a program of its own and uses its calculator as a tool: what any other MCP
server would look like to an agent of yours. Nothing else is needed, and no network.
"""

import sys
from typing import Any

from nearfar.settings import Settings
from nearfar.tools import tools

SERVER = {
    "command": sys.executable,
    "args": ["-m", "nearfar", "mcp", "--tools", "calculator"],
    "permission": "allow",  # its tools ask a person otherwise
}


def connect() -> dict[str, Any]:
    """The server's tools, by name."""
    settings = Settings.model_validate({"mcp": {"servers": {"sums": SERVER}}})
    return {tool.name: tool for tool in tools(["mcp"], settings)}


def main() -> None:
    """Show what there is, and use it."""
    found = connect()
    print("the server offers:", ", ".join(found))
    print(found["mcp_sums_calculator"].invoke({"expression": "15% of 80"}))


if __name__ == "__main__":
    main()
