"""Steps of a graph that run both ways; they live with the models, where agents find them too."""

from nearfar.llm.steps import Invoke, Reply, Update, Work, both_ways

__all__ = ["Invoke", "Reply", "Update", "Work", "both_ways"]
