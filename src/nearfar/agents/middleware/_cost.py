"""What a reply cost."""

from decimal import Decimal
from typing import Any

from langchain_core.messages import AIMessage

from nearfar.errors import UnknownPriceError
from nearfar.llm.money import Price, price_of


def price_for(model: Any) -> Price | None:
    """The published price of a chat model, by what it says of itself; near ones cost nothing."""
    provider, name = names_of(model)
    return price_of(provider, name)


def names_of(model: Any) -> tuple[str, str]:
    """Provider and model id, as the model tells them to tracers."""
    params = model._get_ls_params()  # noqa: SLF001  # the one place where all chat models say this
    return str(params.get("ls_provider", "")), str(params.get("ls_model_name", ""))


def cost_of(reply: AIMessage) -> Decimal:
    """USD. Raises UnknownPriceError where nobody knows, because a limit could not be kept."""
    metadata = reply.response_metadata
    receipt = metadata.get("nearfar")
    if receipt is not None and receipt.get("cost_usd") is not None:
        return Decimal(str(receipt["cost_usd"]))
    provider, model = str(metadata.get("provider", "")), str(metadata.get("model_name", ""))
    price = price_of(provider, model) if receipt is None else None
    if price is None or reply.usage_metadata is None:
        raise UnknownPriceError(
            f"The price of {model or 'a model'} is not known, and a limit in USD applies.",
            data={"model": model, "provider": provider},
        )
    return price.cost(reply.usage_metadata)
