"""Where the states of threads are kept: LangGraph checkpointers over the one database."""

from .opening import Guard, open_saver

__all__ = ["Guard", "open_saver"]
