"""What the chat models below a run used, and what it cost."""

from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage
from langchain_core.messages.ai import UsageMetadata, add_usage
from langchain_core.outputs import ChatGeneration, LLMResult

NOTHING = UsageMetadata(input_tokens=0, output_tokens=0, total_tokens=0)


class Meter(BaseCallbackHandler):
    """Adds up the usage of all chat model calls below a run, on top of its earlier attempts."""

    run_inline = True

    def __init__(self, usage: Any = None, cost_usd: float | None = 0.0) -> None:
        self.usage: UsageMetadata = usage or NOTHING
        self.cost_usd = cost_usd
        """None when a model answered whose price is not known."""

    def on_llm_end(self, response: LLMResult, **kwargs: Any) -> None:  # noqa: ARG002 - langchain's
        for choices in response.generations:
            for generation in choices[:1]:
                message = generation.message if isinstance(generation, ChatGeneration) else None
                metadata = message.response_metadata if isinstance(message, AIMessage) else {}
                cost = _cost(metadata)
                if self.cost_usd is not None:
                    self.cost_usd = None if cost is None else self.cost_usd + cost
                if isinstance(message, AIMessage):
                    self.usage = add_usage(self.usage, message.usage_metadata)


def _cost(metadata: dict[str, Any]) -> float | None:
    """A router's receipt says; a model without one costs nothing only on this machine."""
    receipt = metadata.get("nearfar")
    if receipt is not None:
        cost: float | None = receipt["cost_usd"]
        return cost
    return 0.0 if metadata.get("provider") == "local" else None
