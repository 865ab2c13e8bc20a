"""Agents: the assistant, its memory, and the middleware that any agent can be given.

Nothing is loaded before it is asked for.
"""
