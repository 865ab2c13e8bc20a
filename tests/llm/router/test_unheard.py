"""A call that nobody listens to is the same call, without LangChain's bookkeeping."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import AsyncCallbackHandler, get_usage_metadata_callback
from langchain_core.globals import set_llm_cache
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.runnables import RunnableLambda

from nearfar.llm.router import Candidate, Router
from nearfar.testing.fault_server import FaultServer, Reply

from .upstreams import candidate


class Listener(AsyncCallbackHandler):
    """Notes what it is told."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    async def on_chat_model_start(self, *_: Any, run_id: UUID, **__: Any) -> None:
        self.heard.append("start")

    async def on_llm_end(self, *_: Any, **__: Any) -> None:
        self.heard.append("end")


@pytest.fixture
def router() -> Iterator[Router]:
    with FaultServer(default=Reply("yes")) as server:
        yield Router(candidates=[candidate(server, "lean", "m")])


def same(reply: AIMessage) -> dict[str, Any]:
    """What does not differ between two calls."""
    plain = reply.model_dump(exclude={"id"})
    receipt = plain["response_metadata"].pop("nearfar")
    plain["response_metadata"].pop("id", None)
    return {**plain, "router": receipt["router"], "answered_by": receipt["answered_by"]}


@pytest.mark.parametrize("text", ["x", [HumanMessage("x")], [SystemMessage("s"), ("user", "x")]])
async def test_the_reply_is_the_same_as_with_a_listener(router: Router, text: Any) -> None:
    listener = Listener()
    heard = await router.ainvoke(text, {"callbacks": [listener]})
    unheard = await router.ainvoke(text)
    assert listener.heard == ["start", "end"]
    assert same(unheard) == same(heard)
    assert unheard.id
    assert unheard.id.startswith("lc_run--")
    assert unheard.id != heard.id


async def test_listeners_of_all_kinds_are_told(router: Router) -> None:
    own, around = Listener(), Listener()
    await Router(candidates=router.candidates, callbacks=[own]).ainvoke("x")
    assert own.heard == ["start", "end"]

    async def node(text: str) -> AIMessage:
        return await router.ainvoke(text)

    await RunnableLambda(node).ainvoke("x", {"callbacks": [around]})
    assert around.heard == ["start", "end"]
    with get_usage_metadata_callback() as counted:
        await router.ainvoke("x")
    assert "m" in counted.usage_metadata


async def test_langchains_own_cache_is_asked(router: Router) -> None:
    set_llm_cache(InMemoryCache())
    try:
        first, second = await router.ainvoke("x"), await router.ainvoke("x")
    finally:
        set_llm_cache(None)
    nearfar = [reply.response_metadata["nearfar"]["id"] for reply in (first, second)]
    assert nearfar[0] == nearfar[1]


async def test_a_router_in_a_router_is_asked_once() -> None:
    with FaultServer(default=Reply("yes")) as server:
        inner = Router(candidates=[candidate(server, "lean", "m")])
        reply = await Router(candidates=[Candidate("inner", inner)]).ainvoke("x")
        assert len(server.requests) == 1
    assert reply.text == "yes"
