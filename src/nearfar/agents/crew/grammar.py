"""JSON that cannot be malformed, from models that take grammars."""

from typing import Any

from langchain.agents.middleware import ModelRequest

from nearfar.agents.middleware._around import AroundModel, Steps


class Grammar(AroundModel):
    """Binds every call of the model to a JSON schema."""

    def __init__(self, schema: dict[str, Any]) -> None:
        super().__init__()
        from nearfar.llm.local.grammar import json_grammar

        self._grammar = json_grammar(schema)

    def around_model(self, request: ModelRequest[Any]) -> Steps:
        """The call with the grammar."""
        settings = {**request.model_settings, "grammar": self._grammar}
        return (yield request.override(model_settings=settings))
