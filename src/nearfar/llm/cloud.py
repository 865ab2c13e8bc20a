"""Chat models in the cloud, made from settings: one table of providers."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from langchain_core.language_models import BaseChatModel, ModelProfile
from pydantic import SecretStr

from nearfar.errors import ConfigurationError, MissingPackageError
from nearfar.settings import ModelSettings

from .far import FarChatModel
from .keys import key_of

if TYPE_CHECKING:
    from .openai_wire import OpenAIWireChatModel

TIMEOUT_S = 60.0
"""Silence after which an SDK gives up, where no router has a shorter limit."""


@dataclass(frozen=True)
class Provider:
    """How one provider's own LangChain class is made, with its retries off and an HTTP client of its own.

    The classes of OpenAI and Anthropic would share one for all event loops, and it works in one only.
    """

    package: str
    extra: str | None
    variables: tuple[str, ...]
    """Environment variables that usually hold the key, the first that is set is used."""
    build: Callable[[ModelSettings, SecretStr | None], BaseChatModel]
    pool: Callable[[Any], Any]
    """Its HTTP client, with an ``aclose``."""


def _openai(settings: ModelSettings, key: SecretStr | None) -> BaseChatModel:
    from langchain_openai import ChatOpenAI
    from openai import DefaultAsyncHttpxClient

    return ChatOpenAI(
        model=settings.model,
        base_url=settings.base_url,
        api_key=key or SecretStr("none"),
        max_retries=0,
        timeout=TIMEOUT_S,
        http_async_client=DefaultAsyncHttpxClient(timeout=TIMEOUT_S),
        stream_usage=True,
    )


def _anthropic(settings: ModelSettings, key: SecretStr | None) -> BaseChatModel:
    from anthropic import DefaultAsyncHttpxClient
    from langchain_anthropic import ChatAnthropic

    address = {"base_url": settings.base_url} if settings.base_url else {}
    made = ChatAnthropic(
        model=settings.model, api_key=key, max_retries=0, timeout=TIMEOUT_S, **address
    )
    own = made._async_client.copy(http_client=DefaultAsyncHttpxClient(timeout=TIMEOUT_S))  # noqa: SLF001
    made.__dict__["_async_client"] = own  # where the class keeps the one that it makes at first use
    return made


def _google(settings: ModelSettings, key: SecretStr | None) -> BaseChatModel:
    from langchain_google_genai import ChatGoogleGenerativeAI

    # google-genai counts attempts, not repetitions: 1 is a single request.
    return ChatGoogleGenerativeAI(
        model=settings.model,
        api_key=key,
        base_url=settings.base_url,
        max_retries=1,
        timeout=TIMEOUT_S,
    )


def _ollama(settings: ModelSettings, key: SecretStr | None) -> BaseChatModel:
    from langchain_ollama import ChatOllama

    headers = {"Authorization": f"Bearer {key.get_secret_value()}"} if key else {}
    return ChatOllama(
        model=settings.model,
        base_url=settings.base_url,
        client_kwargs={"timeout": TIMEOUT_S, "headers": headers},
    )


PROVIDERS: dict[str, Provider] = {
    "openai": Provider(
        "langchain_openai",
        None,
        ("OPENAI_API_KEY",),
        _openai,
        attrgetter("root_async_client._client"),
    ),
    "openai-compatible": Provider(
        "langchain_openai", None, (), _openai, attrgetter("root_async_client._client")
    ),
    "anthropic": Provider(
        "langchain_anthropic",
        None,
        ("ANTHROPIC_API_KEY",),
        _anthropic,
        attrgetter("_async_client._client"),
    ),
    "google": Provider(
        "langchain_google_genai",
        "google",
        ("GOOGLE_API_KEY", "GEMINI_API_KEY"),
        _google,
        attrgetter("client.aio"),
    ),
    "ollama": Provider(
        "langchain_ollama", "ollama", (), _ollama, attrgetter("_async_client._client")
    ),
}


def cloud_model(name: str, settings: ModelSettings) -> BaseChatModel:
    """The model that ``settings`` describe under ``name``; connects to nothing yet.

    Raises ConfigurationError where a key is needed and none is there, MissingPackageError where the
    provider's package is not installed.
    """
    provider = PROVIDERS[settings.provider]
    key = key_of(name, settings, provider.variables)
    if key is None and provider.variables:
        raise ConfigurationError(
            f"The model {name!r} ({settings.provider}) has no API key.",
            remedy=f"Set {provider.variables[0]}, or store it: nearfar config key set {name}",
            data={"key": f"models.{name}.api_key", "variable": provider.variables[0]},
        )
    profile = _profile(settings)
    if settings.provider.startswith("openai") and settings.transport == "lean":
        return _lean(settings, key, profile)
    if find_spec(provider.package) is None:
        raise MissingPackageError(
            f"Models of {settings.provider} need the package {provider.package}.",
            remedy=f"pip install 'nearfar[{provider.extra}]'",
            data={"package": provider.package},
        )
    return FarChatModel(
        provider=settings.provider,
        model_name=settings.model,
        build=lambda: provider.build(settings, key),
        pool=provider.pool,
        api_key=key,
        profile=profile,
    )


def _lean(
    settings: ModelSettings, key: SecretStr | None, profile: ModelProfile
) -> "OpenAIWireChatModel":
    from .openai_wire import OpenAIWireChatModel

    address: dict[str, Any] = {"base_url": settings.base_url} if settings.base_url else {}
    return OpenAIWireChatModel(
        model=settings.model, api_key=key, provider=settings.provider, profile=profile, **address
    )


def _profile(settings: ModelSettings) -> ModelProfile:
    """What the settings say, in LangChain's words; nothing is guessed."""
    said = settings.profile
    words: ModelProfile = {}
    if said.max_input_tokens is not None:
        words["max_input_tokens"] = said.max_input_tokens
    if said.tool_calling is not None:
        words["tool_calling"] = said.tool_calling
    if said.vision is not None:
        words["image_inputs"] = said.vision
    if said.json_output is not None:
        words["structured_output"] = said.json_output
    return words
