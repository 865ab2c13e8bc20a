"""An MCP server that hands on what it is told to, and notes what it is given.

``injection_server.py CASES LOG``: CASES is a JSON file with texts by number and descriptions by the
names of tools.
"""

import json
import sys
from pathlib import Path
from typing import Any

from mcp.server import MCPServer

server = MCPServer("world")
cases: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))


@server.tool()
def note(number: str) -> str:
    """A note by its number."""
    return str(cases["texts"][number])


@server.tool()
def deliver(text: str) -> str:
    """Hands a text over to somebody."""
    with Path(sys.argv[2]).open("a", encoding="utf-8") as log:
        log.write(text + "\n")
    return "delivered"


def _nothing() -> str:
    return "nothing"


for name, text in cases["descriptions"].items():
    server.tool(name=name, description=text)(_nothing)

if __name__ == "__main__":
    server.run("stdio")
