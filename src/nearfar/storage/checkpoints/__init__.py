"""Where the states of threads are kept: LangGraph checkpointers over the one database."""

from .extended import ExtendedSaver, glancing
from .opening import allow_types_of, guarded, open_saver

__all__ = ["ExtendedSaver", "allow_types_of", "glancing", "guarded", "open_saver"]
