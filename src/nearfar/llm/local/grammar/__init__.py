"""Grammars for llguidance: JSON schemas, tool calls, choices, quotes. All bounded, all compact."""

from nearfar.llm.local.dialects import ToolSpec

from .limits import DEFAULT_LIMITS, Limits
from .text import choice_grammar, citation_text_grammar, quote_grammar
from .tools import check_schema, json_grammar, tools_grammar

__all__ = [
    "DEFAULT_LIMITS",
    "Limits",
    "ToolSpec",
    "check_schema",
    "choice_grammar",
    "citation_text_grammar",
    "json_grammar",
    "quote_grammar",
    "tools_grammar",
]
