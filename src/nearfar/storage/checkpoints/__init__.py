"""Where the states of threads are kept: LangGraph checkpointers over the one database."""

from .opening import allow_types_of, open_saver

__all__ = ["allow_types_of", "open_saver"]
