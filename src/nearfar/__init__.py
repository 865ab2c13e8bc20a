"""Nearfar runs LLM agents near (a model on this machine) and far (in the cloud)."""

__version__ = "0.1.0"
