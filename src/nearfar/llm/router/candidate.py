"""A model that a router may ask, and what it is known to take."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.messages.utils import count_tokens_approximately
from pydantic import SecretStr

from nearfar.llm.faults import Origin
from nearfar.llm.money import Price

from .breaker import Breaker
from .slots import Slots

MARGIN = 1.1
"""A count by rule of thumb is taken this much higher, so that what is said to fit does."""


@dataclass(frozen=True)
class Capabilities:
    """What a model takes; None means that nothing is known, and nothing is refused."""

    max_input_tokens: int | None = None
    tool_calling: bool | None = None
    vision: bool | None = None
    json: bool | None = None
    prefill: bool = False


@dataclass(eq=False)
class Candidate:
    """A chat model under the name that receipts call it by.

    ``local`` says that nothing leaves this machine; ``exact`` that the model's own count of a prompt's
    tokens is exact and cheap.
    """

    name: str
    model: BaseChatModel
    provider: str = "unknown"
    local: bool = False
    exact: bool = False
    takes: Capabilities = field(default_factory=Capabilities)
    breaker: Breaker = field(default_factory=Breaker)
    price: Price | None = None
    """What it costs; None: as published."""
    base_url: str | None = None
    """Where its API is; tells whose price holds for one that is only `compatible`."""
    quality: float | None = None
    """How good its answers are, from 0 to 1; None: nobody said."""
    slots: Slots | None = None
    """How many requests it may work on at once; None: no limit."""
    active: int = 0
    first_token_s: float | None = None
    """A moving average over the last requests; None before the first."""

    @cached_property
    def model_id(self) -> str:
        """The id of the model, as its upstream calls it."""
        for name in ("model_name", "model"):
            value = getattr(self.model, name, None)
            if isinstance(value, str):
                return value
        return self.name

    @cached_property
    def origin(self) -> Origin:
        """Whom errors name."""
        key = getattr(self.model, "api_key", None)
        secret = key.get_secret_value() if isinstance(key, SecretStr) else ""
        return Origin(self.provider, self.model_id, secret)

    def count(self, messages: Sequence[BaseMessage], tools: Sequence[dict[str, Any]]) -> int:
        """The prompt's tokens: exact where the model can tell, else a generous estimate."""
        if self.exact:
            return self.model.get_num_tokens_from_messages(
                list(messages), tools=list(tools) or None
            )
        estimate = count_tokens_approximately(messages, tools=list(tools) or None)
        return int(estimate * MARGIN)

    def note_first_token(self, seconds: float) -> None:
        """Keep the moving average."""
        old = self.first_token_s
        self.first_token_s = seconds if old is None else 0.8 * old + 0.2 * seconds
