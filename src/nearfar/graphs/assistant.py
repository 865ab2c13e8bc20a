"""``assistant``: an agent with tools, memory and limits; see ``nearfar.agents``."""

from pathlib import Path
from typing import Any

from nearfar.agents.assistant import create_assistant
from nearfar.settings import Settings

from .registry import Graph


def build_assistant(settings: Settings | str | Path | None = None, **options: Any) -> Graph:
    """The workflow; ``options`` are those of ``create_assistant``."""
    return create_assistant(settings=settings, **options)
