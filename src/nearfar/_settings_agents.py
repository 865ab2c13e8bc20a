"""The section about the assistant."""

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field

from ._settings_section import Section


class AgentLimits(Section):
    """What one run of an agent may take."""

    steps: Annotated[int, Field(ge=1)] = 25
    """Calls of the model."""
    tool_calls: Annotated[int, Field(ge=0)] = 50
    """Calls of tools, all together."""
    calls_at_once: Annotated[int, Field(ge=1)] = 16
    """Calls of tools that one reply may ask for."""
    depth: Annotated[int, Field(ge=0)] = 3
    """Agents that call each other."""
    time_s: Annotated[float, Field(gt=0)] | None = 600
    """Seconds at work; waiting for a person does not count."""
    usd: Annotated[Decimal, Field(gt=0)] | None = None
    """What the replies may cost; looked at before each call. Needs a known price."""
    argument_chars: Annotated[int, Field(ge=1)] = 1_000_000
    """Characters of arguments in one reply's calls; `tools.max_argument_chars` is what one tool takes."""
    on_limit: Literal["end", "error"] = "error"
    """`error`: the run fails with NF-550, and its thread keeps what was done. `end`: an answer says so."""


class AssistantSettings(Section):
    """The workflow `assistant`, and `nearfar chat`."""

    model: str | None = None
    """The model or router; unset: the default one."""
    tools: list[Annotated[str, Field(min_length=1)]] | None = None
    """Names of tools; unset: those that work with what is configured (calculator, documents, files, sql)."""
    index: str | None = None
    """The index that `documents` searches; unset: as the tool's own settings say."""
    instructions: str | None = None
    """What the model is told first; unset: a few sentences of Nearfar's."""
    memory: bool = True
    """Whether facts about the user are remembered across conversations."""
    budget: str | None = None
    """The budget that model calls are paid from, where the model is no router with one of its own."""
    limits: AgentLimits = AgentLimits()
    """What one run may take."""
