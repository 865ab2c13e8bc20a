"""Middleware for LangChain's ``create_agent``: plain ``AgentMiddleware`` classes.

    from langchain.agents import create_agent
    from nearfar.agents.middleware import ApprovalMiddleware, LimitsMiddleware

    agent = create_agent(model, tools, middleware=[LimitsMiddleware(), ApprovalMiddleware()])

Order matters: the first is the outermost. ``nearfar.agents.create_assistant`` has them as citation,
limits, memory, approval, compaction, budget.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .approval import ApprovalMiddleware as ApprovalMiddleware
    from .budget import BudgetMiddleware as BudgetMiddleware
    from .citation import CitationMiddleware as CitationMiddleware
    from .compaction import CompactionMiddleware as CompactionMiddleware
    from .limits import Limits as Limits
    from .limits import LimitsMiddleware as LimitsMiddleware
    from .memory import MemoryMiddleware as MemoryMiddleware
    from .small import SmallModelMiddleware as SmallModelMiddleware

__all__ = [
    "ApprovalMiddleware",
    "BudgetMiddleware",
    "CitationMiddleware",
    "CompactionMiddleware",
    "Limits",
    "LimitsMiddleware",
    "MemoryMiddleware",
    "SmallModelMiddleware",
]

_HOMES = {
    "ApprovalMiddleware": ".approval",
    "BudgetMiddleware": ".budget",
    "CitationMiddleware": ".citation",
    "CompactionMiddleware": ".compaction",
    "Limits": ".limits",
    "LimitsMiddleware": ".limits",
    "MemoryMiddleware": ".memory",
    "SmallModelMiddleware": ".small",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name], __name__), name)
