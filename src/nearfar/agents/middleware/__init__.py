"""Middleware for LangChain's ``create_agent``: plain ``AgentMiddleware`` classes."""
