"""LangChain's own tests for chat models, on the model that comes with the package."""

from importlib import import_module
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests

from nearfar.llm import LocalChatModel

load = import_module("langchain_core.load.load")  # the package's name is taken by the function

COPIES_NO_NUMBER = (
    "the starter model was trained on six tools and few wordings: asked for magic_function(3), it "
    "fills the forced integer with 323; the call itself parses and validates"
)
WRITES_NO_CHINESE = (
    "the starter model saw English only: it fills the forced string with English words; the call "
    "itself parses and validates"
)


class TestLocalChatModelUnit(ChatModelUnitTests):
    """What needs no model to run."""

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return LocalChatModel

    @property
    def standard_chat_model_params(self) -> dict[str, Any]:
        """Without api_key, timeout and max_retries: there is no service to reach."""
        return {"temperature": 0, "max_tokens": 100, "stop": []}

    @property
    def supports_json_mode(self) -> bool:
        return True

    @pytest.fixture(autouse=True)
    def known_to_langchain(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """``allowed_objects="all"`` means LangChain's own list of packages; ours is added to it.

        Programs name the class instead: test_chat_model.py loads it that way.
        """
        paths = load._get_default_allowed_class_paths("all") | {
            ("nearfar", "llm", "LocalChatModel")
        }
        monkeypatch.setitem(load._default_class_paths_cache, "all", paths)


class TestLocalChatModelIntegration(ChatModelIntegrationTests):
    """Against a real worker process."""

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return LocalChatModel

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def supports_anthropic_inputs(self) -> bool:
        return True

    @property
    def model_override_value(self) -> str:
        return LocalChatModel().info.name

    @property
    def supported_usage_metadata_details(self) -> Any:
        return {"invoke": ["cache_read_input"], "stream": ["cache_read_input"]}

    def invoke_with_cache_read_input(self, *, stream: bool = False) -> AIMessage:
        model = LocalChatModel()
        messages = [HumanMessage("a long question " * 20)]
        model.invoke(messages)
        if not stream:
            return model.invoke(messages)
        chunks = list(model.stream(messages))
        whole = chunks[0]
        for chunk in chunks[1:]:
            whole += chunk
        return whole

    @pytest.mark.xfail(reason=COPIES_NO_NUMBER)
    @pytest.mark.parametrize("model", [{}, {"output_version": "v1"}], indirect=True)
    def test_tool_calling(self, model: BaseChatModel) -> None:
        super().test_tool_calling(model)

    @pytest.mark.xfail(reason=COPIES_NO_NUMBER)
    async def test_tool_calling_async(self, model: BaseChatModel) -> None:
        await super().test_tool_calling_async(model)

    @pytest.mark.xfail(reason=WRITES_NO_CHINESE)
    def test_unicode_tool_call_integration(
        self,
        model: BaseChatModel,
        *,
        tool_choice: str | None = None,  # noqa: PT028  # the signature of the original
        force_tool_call: bool = True,  # noqa: PT028  # as above
    ) -> None:
        super().test_unicode_tool_call_integration(
            model, tool_choice=tool_choice, force_tool_call=force_tool_call
        )
