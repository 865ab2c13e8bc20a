"""LangChain's own tests for chat models: the lean model, an SDK's model, and routers over them."""

from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests

from nearfar.llm.cloud import cloud_model
from nearfar.llm.far import FarChatModel
from nearfar.llm.openai_wire import OpenAIWireChatModel
from nearfar.llm.router import Candidate, Router
from nearfar.settings import ModelSettings
from nearfar.testing.fault_server import FaultServer

from .upstream_by_rule import answer

ADDRESS: dict[str, str] = {"alive": "http://127.0.0.1:9", "dead": "http://127.0.0.1:9"}


@pytest.fixture(scope="module", autouse=True)
def upstream() -> Iterator[FaultServer]:
    """One server that answers by rule, and an address where nobody listens."""
    gone = FaultServer().start()
    gone.stop()
    with FaultServer(default=answer) as server:
        ADDRESS.update(alive=server.url, dead=gone.url)
        yield server


def lean(name: str = "lean-1", at: str = "alive") -> BaseChatModel:
    return OpenAIWireChatModel(model=name, base_url=f"{ADDRESS[at]}/v1")


def claude(name: str = "claude-1", at: str = "alive") -> FarChatModel:
    settings = {"provider": "anthropic", "model": name, "base_url": ADDRESS[at], "api_key": "none"}
    model = cloud_model(name, ModelSettings.model_validate(settings))
    assert isinstance(model, FarChatModel)
    return model


class Claude(FarChatModel):
    """What the settings make, with the parameters that LangChain's tests set on a class."""

    def __init__(self, output_version: str | None = None, **given: Any) -> None:
        made = claude()

        def build() -> BaseChatModel:
            return made.build().model_copy(update=given)

        super().__init__(
            provider=made.provider,
            model_name=made.model_name,
            build=build,
            pool=made.pool,
            output_version=output_version,
        )


class RouterOverBoth(Router):
    """Two good candidates."""

    first: ClassVar[str] = "alive"

    def __init__(self, output_version: str | None = None, **given: Any) -> None:
        candidates = [
            Candidate("lean-1", lean(at=self.first), provider="openai-compatible"),
            Candidate("claude-1", claude(), provider="anthropic"),
        ]
        super().__init__(candidates=candidates, output_version=output_version)


class RouterWithADeadFirst(RouterOverBoth):
    """Nobody listens where the first candidate should be."""

    first = "dead"


class Params:
    """No key is looked for; there is nothing to retry."""

    @property
    def standard_chat_model_params(self) -> dict[str, Any]:
        return {}


class Lean(Params):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return OpenAIWireChatModel

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "lean-1", "base_url": f"{ADDRESS['alive']}/v1"}

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def supports_anthropic_inputs(self) -> bool:
        return True

    @property
    def model_override_value(self) -> str:
        return "lean-2"


class Far(Params):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return Claude

    @property
    def supports_anthropic_inputs(self) -> bool:
        return True

    @property
    def model_override_value(self) -> str:
        return "claude-2"


class Both(Params):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return RouterOverBoth

    @property
    def supports_anthropic_inputs(self) -> bool:
        return True

    @property
    def model_override_value(self) -> str:
        return "claude-1"


class DeadFirst(Both):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return RouterWithADeadFirst


class TestLeanUnit(Lean, ChatModelUnitTests):
    """What needs no server."""

    @property
    def standard_chat_model_params(self) -> dict[str, Any]:
        return {"temperature": 0, "max_tokens": 100, "stop": [], "api_key": "test"}


class TestLean(Lean, ChatModelIntegrationTests):
    """Over a real socket."""


class TestFarUnit(Far, ChatModelUnitTests):
    """What needs no server."""


class TestFar(Far, ChatModelIntegrationTests):
    """Over a real socket, by the provider's own SDK."""


class TestRouterUnit(Both, ChatModelUnitTests):
    """What needs no server."""


class TestRouter(Both, ChatModelIntegrationTests):
    """A router is a chat model like others."""


class TestRouterWithADeadFirst(DeadFirst, ChatModelIntegrationTests):
    """Nobody notices that the first candidate is dead."""
