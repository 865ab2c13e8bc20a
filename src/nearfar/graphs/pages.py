"""Web pages as files, fetched by the guarded tool, so that documents and pages are searched alike."""

import hashlib
import re
from pathlib import Path
from typing import Any

from langchain_core.messages import ToolMessage

from nearfar.llm.steps import Invoke, Steps, Work
from nearfar.settings import Settings, home
from nearfar.tools import tool

_MARKS = re.compile(r"^<<<(?:data|end of data) [^\n]*>>>$", re.MULTILINE)


def fetch_page(url: str, settings: Settings) -> Steps:
    """A generator that returns the file, or None and why there is none.

    Whether the address may be reached is the tool's permission; where it asks, the run waits.
    """
    call = {"type": "tool_call", "name": "web_fetch", "args": {"url": url}, "id": f"fetch {url}"}
    reply = yield Invoke(tool("web_fetch", settings), call)
    if not isinstance(reply, ToolMessage) or reply.status == "error":
        return None, _MARKS.sub("", str(getattr(reply, "text", reply))).strip()
    text = _MARKS.sub("", str(reply.text)).strip()
    return (yield Work(lambda: _kept(url, text, reply.artifact))), ""


def _kept(url: str, text: str, artifact: Any) -> Path:
    folder = home() / "cache" / "pages"
    folder.mkdir(parents=True, exist_ok=True)
    data = artifact.get("data") if isinstance(artifact, dict) else None
    title = (data or {}).get("title") or url
    digest = hashlib.sha256(url.encode()).hexdigest()[:16]
    file = folder / f"{digest}.md"
    file.write_text(f"# {title}\n\n{text}\n", encoding="utf-8")
    return file
