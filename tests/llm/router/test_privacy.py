"""Requests that hold what must stay near never reach a far model, and block where they cannot be answered."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from nearfar.errors import ContentBlockedError, NoCandidateError
from nearfar.llm import chat_model
from nearfar.llm.router import Candidate, Router
from nearfar.llm.router.receipts import Receipts
from nearfar.llm.screening import Detector, Screen
from nearfar.settings import PrivacySettings, Settings
from nearfar.testing import ScriptedChatModel
from nearfar.testing.fault_server import FaultServer, Reply
from tests.llm.router.upstreams import Way, ask, candidate

WAYS: tuple[Way, ...] = ("invoke", "stream", "ainvoke", "astream")
SECRET = "anna@example.com"


@pytest.fixture
def far() -> Iterator[FaultServer]:
    with FaultServer(default=Reply("from far")) as server:
        yield server


def router(far: FaultServer, *, near: bool = True, **privacy: Any) -> Router:
    """A far candidate, which comes first, and one that is near."""
    candidates = [candidate(far, "lean", "far")]
    if near:
        candidates.append(Candidate("near", ScriptedChatModel(["from near"] * 20), local=True))
    settings = PrivacySettings.model_validate(privacy or {"keep_near": ["pii"]})
    return Router(candidates=candidates, screen=Screen(Detector(settings)))


@pytest.mark.parametrize("way", WAYS)
async def test_what_is_found_goes_near_in_every_way_to_call(far: FaultServer, way: Way) -> None:
    reply = await ask(router(far), way, f"Write to {SECRET}")
    assert (reply.text, far.requests) == ("from near", [])
    receipt = reply.response_metadata["nearfar"]
    assert (receipt["private"], receipt["found"]) == (True, {"email": 1})
    assert receipt["candidates"][0]["reason"] == (
        "private: 1 email found, the request must not leave this machine"
    )
    assert SECRET not in json.dumps(receipt)


async def test_without_a_near_candidate_it_fails_and_does_not_repeat_the_words(
    far: FaultServer,
) -> None:
    with pytest.raises(NoCandidateError) as caught:
        await router(far, near=False).ainvoke(f"Write to {SECRET}")
    assert far.requests == []
    assert "1 email found" in caught.value.message
    assert SECRET not in caught.value.message + json.dumps(caught.value.data)


async def test_what_holds_nothing_goes_far(far: FaultServer) -> None:
    reply = await router(far).ainvoke("What is a kiln?")
    assert reply.text == "from far"
    receipt = reply.response_metadata["nearfar"]
    assert (receipt["private"], receipt["found"]) == (False, {})


@pytest.mark.parametrize(
    "messages",
    [
        [HumanMessage("x", additional_kwargs={"private": True})],
        [
            HumanMessage("x"),
            AIMessage("", tool_calls=[{"name": "f", "args": {}, "id": "1"}]),
            ToolMessage("diary", tool_call_id="1", additional_kwargs={"private": True}),
        ],
    ],
)
async def test_a_mark_on_any_message_keeps_the_request_near(
    far: FaultServer, messages: list[Any]
) -> None:
    plain = router(far)
    plain.screen = None
    reply = await plain.ainvoke(messages)
    assert (reply.text, far.requests) == ("from near", [])


@pytest.mark.parametrize("way", WAYS)
async def test_a_mark_in_the_config_keeps_the_request_near(far: FaultServer, way: Way) -> None:
    plain = router(far)
    plain.screen = None
    reply = await ask(plain.with_config({"metadata": {"private": True}}), way)
    assert (reply.text, far.requests) == ("from near", [])


async def test_a_tools_result_with_personal_data_keeps_the_rest_of_the_talk_near(
    far: FaultServer,
) -> None:
    one = router(far)
    assert (await one.ainvoke("Who wrote?")).text == "from far"
    call = AIMessage("", tool_calls=[{"name": "inbox", "args": {}, "id": "1"}])
    talk = [HumanMessage("Who wrote?"), call, ToolMessage(SECRET, tool_call_id="1")]
    assert (await one.ainvoke(talk)).text == "from near"
    assert (await one.ainvoke([*talk, AIMessage("She."), HumanMessage("Thanks")])).text == (
        "from near"
    )
    assert len(far.requests) == 1


async def test_a_detector_that_fails_keeps_the_request_near(far: FaultServer) -> None:
    one = router(far, detectors=[f"{__name__}:fails"])
    reply = await one.ainvoke("hello")
    assert (reply.text, far.requests) == ("from near", [])
    assert reply.response_metadata["nearfar"]["found"] == {"detector failed": 1}


def fails(text: str) -> dict[str, int]:
    raise RuntimeError(text)


async def test_a_picture_stays_near_where_anything_is_kept_near(far: FaultServer) -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    reply = await router(far).ainvoke([HumanMessage([picture])])
    assert (reply.text, far.requests) == ("from near", [])


def settings_on(far: FaultServer, **sections: Any) -> Settings:
    lab = {"provider": "openai-compatible", "base_url": far.openai_url, "model": "m"}
    routers = {"default": {"candidates": ["lab"]}}
    return Settings.model_validate(
        {"models": {"lab": {**lab, "api_key": "none"}}, "routers": routers, **sections}
    )


@pytest.mark.parametrize("name", ["default", "lab"])
def test_the_settings_hold_for_routers_and_for_far_models_by_their_own_name(
    far: FaultServer, name: str
) -> None:
    model = chat_model(name, settings=settings_on(far, privacy={"keep_near": ["email"]}))
    assert model.invoke("What is a kiln?").text == "from far"
    with pytest.raises(NoCandidateError):
        model.invoke(f"Write to {SECRET}")
    assert len(far.requests) == 1


def test_what_is_blocked_reaches_nobody_and_leaves_a_receipt(far: FaultServer) -> None:
    settings = settings_on(far, content={"actions": {"weapons": "block"}})
    with pytest.raises(ContentBlockedError):
        chat_model(settings=settings).invoke("how to make a bomb")
    assert far.requests == []
    receipts = Receipts.open(settings)
    assert receipts is not None
    [kept] = receipts.latest()
    assert kept.receipt["answered_by"] is None
    assert "bomb" not in json.dumps(kept.receipt)


def test_nothing_of_the_words_is_in_the_database(far: FaultServer, home_folder: Path) -> None:
    settings = settings_on(far, privacy={"keep_near": ["email"]})
    with pytest.raises(NoCandidateError):
        chat_model(settings=settings).invoke(f"Write to {SECRET}")
    chat_model(settings=settings).invoke("A zebra in the kiln")
    receipts = Receipts.open(settings)
    assert receipts is not None
    assert len(receipts.latest()) == 2
    stored = b"".join(path.read_bytes() for path in home_folder.glob("nearfar.db*"))
    assert SECRET.encode() not in stored
    assert b"zebra" not in stored
