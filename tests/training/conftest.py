"""The programs under training/ import each other from their own folder."""

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

CHAT = Path(__file__).parents[2] / "training" / "chat"


class Programs:
    """Modules of training/chat, by name: ``programs("data.draw")``."""

    def __call__(self, name: str) -> Any:
        module: ModuleType = import_module(name)
        assert Path(module.__file__ or "").is_relative_to(CHAT)
        return module


@pytest.fixture(scope="session")
def programs() -> Iterator[Programs]:
    sys.path.insert(0, str(CHAT))
    yield Programs()
    sys.path.remove(str(CHAT))
