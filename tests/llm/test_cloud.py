"""Chat models elsewhere, as settings make them: by which class, with which key, and hiding it."""

import asyncio
import concurrent.futures
import pickle
from typing import Any

import pytest
from langchain_core.load import dumps

from nearfar.errors import (
    AuthenticationError,
    ConfigurationError,
    MissingPackageError,
    NearfarError,
    UpstreamConnectionError,
)
from nearfar.llm import chat_model
from nearfar.llm.cloud import PROVIDERS, cloud_model
from nearfar.llm.far import FarChatModel
from nearfar.llm.openai_wire import OpenAIWireChatModel
from nearfar.llm.router import Candidate, Router
from nearfar.settings import ModelSettings, Settings
from nearfar.testing.fault_server import FaultServer, Reply, Status

KEY = "correct-horse-battery-7"
NOWHERE = "http://127.0.0.1:9"
FAR = ["openai", "openai-compatible", "anthropic", "google", "ollama"]


def settings_of(provider: str, **more: Any) -> ModelSettings:
    given = {"provider": provider, "model": "m", "base_url": NOWHERE, "api_key": KEY, **more}
    return ModelSettings.model_validate(given)


def far_model(provider: str) -> Any:
    transport = {"transport": "sdk"} if provider.startswith("openai") else {}
    return cloud_model("x", settings_of(provider, **transport))


def test_openai_shaped_ones_are_lean_unless_the_sdk_is_asked_for() -> None:
    assert isinstance(cloud_model("x", settings_of("openai")), OpenAIWireChatModel)
    assert isinstance(cloud_model("x", settings_of("openai-compatible")), OpenAIWireChatModel)
    assert isinstance(far_model("openai"), FarChatModel)


@pytest.mark.parametrize("provider", FAR)
def test_the_sdk_is_made_without_retries(provider: str) -> None:
    pytest.importorskip(PROVIDERS[provider].package)
    inner = far_model(provider)._inner()
    # google-genai counts attempts; ollama's client has no retries.
    assert getattr(inner, "max_retries", 0) == (1 if provider == "google" else 0)


@pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning")
@pytest.mark.parametrize("provider", FAR)
@pytest.mark.parametrize("way", ["invoke", "stream"])
def test_every_provider_gives_a_typed_error_where_nobody_listens(provider: str, way: str) -> None:
    pytest.importorskip(PROVIDERS[provider].package)
    with pytest.raises(UpstreamConnectionError) as caught:
        list(getattr(far_model(provider), way)("x"))
    assert caught.value.data["fault"] == "refused"
    assert caught.value.data["provider"] == provider


@pytest.mark.parametrize(
    ("provider", "variable"),
    [
        ("openai", "OPENAI_API_KEY"),
        ("anthropic", "ANTHROPIC_API_KEY"),
        ("google", "GOOGLE_API_KEY"),
    ],
)
def test_a_key_comes_from_settings_or_the_usual_variable(
    provider: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for known in PROVIDERS[provider].variables:
        monkeypatch.delenv(known, raising=False)
    bare = ModelSettings.model_validate({"provider": provider, "model": "m"})
    with pytest.raises(ConfigurationError) as caught:
        cloud_model("mine", bare)
    assert variable in caught.value.remedy
    monkeypatch.setenv(variable, KEY)
    assert cloud_model("mine", bare).api_key.get_secret_value() == KEY  # type: ignore[attr-defined]


def test_a_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nearfar.llm.cloud.find_spec", lambda name: None)
    with pytest.raises(MissingPackageError) as caught:
        cloud_model("x", settings_of("google"))
    assert caught.value.remedy == "pip install 'nearfar[google]'"


@pytest.mark.parametrize("provider", FAR)
def test_no_key_is_shown_by_any_model_or_candidate(provider: str) -> None:
    pytest.importorskip(PROVIDERS[provider].package)
    for model in (far_model(provider), cloud_model("x", settings_of(provider))):
        candidate = Candidate("a", model)
        router = Router(candidates=[candidate])
        shown = [f(x) for f in (repr, str) for x in (model, candidate, candidate.origin, router)]
        shown += [dumps(model), dumps(router), str(model.model_dump()), str(router.model_dump())]
        shown += [str(model._identifying_params), str(router._identifying_params)]
        assert not [text for text in shown if KEY in text]


@pytest.mark.parametrize("provider", ["openai-compatible", "openai", "anthropic"])
@pytest.mark.parametrize("told", [f"bad key {KEY}!", "bad key sk-ant-api03-abcdefghijk"])
def test_a_key_in_the_servers_words_reaches_no_message(provider: str, told: str) -> None:
    with FaultServer(default=Status(401, message=told)) as server:
        base = server.anthropic_url if provider == "anthropic" else server.openai_url
        more = {"transport": "sdk"} if provider == "openai" else {}
        model = cloud_model("x", settings_of(provider, base_url=base, **more))
        for asked in (model, Router(candidates=[Candidate("a", model, provider=provider)])):
            with pytest.raises(AuthenticationError) as caught:
                asked.invoke("x")
            everything = f"{caught.value} {caught.value.to_dict()}"
            assert "[key]" in everything
            assert KEY not in everything
            assert "abcdefghijk" not in everything


def router_settings(server: FaultServer) -> Settings:
    models = {
        "a": {"provider": "openai-compatible", "model": "ma", "base_url": f"{server.url}/v1"},
        "b": {"provider": "anthropic", "model": "mb", "base_url": server.url, "api_key": KEY},
    }
    return Settings.model_validate(
        {"models": models, "routers": {"default": {"candidates": ["a", "b"]}}}
    )


@pytest.mark.parametrize("name", ["default", "a", "b"])
def test_a_model_works_in_successive_loops_and_several_threads(name: str) -> None:
    with FaultServer(default=Reply("yes")) as server:
        model = chat_model(name, settings=router_settings(server))

        async def twice() -> list[str]:
            replies = await asyncio.gather(model.ainvoke("x"), model.ainvoke("y"))
            return [str(reply.text) for reply in replies]

        for _ in range(3):
            assert asyncio.run(twice()) == ["yes", "yes"]
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            texts = list(pool.map(lambda _: str(model.invoke("x").text), range(8)))
            texts += list(pool.map(lambda _: asyncio.run(twice())[0], range(4)))
        assert set(texts) == {"yes"}
        assert [reply.text for reply in model.batch(["x", "y", "z"])] == ["yes"] * 3


def test_routers_of_a_process_share_what_they_know_of_an_upstream() -> None:
    with FaultServer(default=Reply("yes")) as server:
        settings = router_settings(server)
        first, second = chat_model(settings=settings), chat_model(settings=settings)
        assert isinstance(first, Router)
        assert isinstance(second, Router)
        assert first.candidates[0].breaker is second.candidates[0].breaker
        assert first.candidates[0].breaker is not first.candidates[1].breaker


def test_errors_survive_pickling() -> None:
    with FaultServer(default=Status(401)) as server:
        with pytest.raises(NearfarError) as caught:
            chat_model("a", settings=router_settings(server)).invoke("x")
        again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301  # our own bytes
    assert type(again) is type(caught.value)
    assert again.data == caught.value.data
