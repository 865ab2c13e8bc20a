"""A lean chat model for every server that speaks OpenAI's chat completions."""

from .chat_model import OpenAIWireChatModel

__all__ = ["OpenAIWireChatModel"]
