"""One way to call a chat model over HTTP, in a process of its own, asked over standard input.

    python benchmarks/_calls.py WAY URL

Each line asked is a JSON object, each answer one too: ``{"do": "one", "n": 200}`` gives seconds of each
call, ``{"do": "many", "n": 2000, "at": 32}`` calls per second and processor time, ``{"do": "stream"}``
processor time and the first token's, ``{"do": "failover", "bad": URL}`` seconds with a first upstream
that fails. It imports only what its way needs, so that it also runs where Nearfar is not installed.
"""

import asyncio
import importlib
import itertools
import json
import os
import resource
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

MESSAGES = [{"role": "user", "content": "Say something short, please."}]
BODY = {"model": "m", "messages": MESSAGES}

Ask = Callable[[], Awaitable[Any]]
Stream = Callable[[], AsyncIterator[Any]]


class Way:
    """``ask`` and ``stream`` against a good upstream; ``failing`` against a bad one with a spare."""

    def __init__(
        self, ask: Ask, stream: Stream, failing: Callable[[str], Ask] | None = None
    ) -> None:
        self.ask = ask
        self.stream = stream
        self.failing = failing


def aiohttp(url: str) -> Way:
    """What there is at the bottom."""
    import aiohttp as library
    import orjson

    session = library.ClientSession()

    async def post(base: str) -> Any:
        async with session.post(f"{base}/chat/completions", data=orjson.dumps(BODY)) as reply:
            data = orjson.loads(await reply.read())
            if reply.status != 200:
                raise OSError(reply.status)
            return data

    async def stream() -> AsyncIterator[Any]:
        body = orjson.dumps({**BODY, "stream": True})
        async with session.post(f"{url}/chat/completions", data=body) as reply:
            async for line in reply.content:
                if line.startswith(b"data: {"):
                    yield orjson.loads(line[6:])

    def failing(bad: str) -> Ask:
        async def two() -> Any:
            try:
                return await post(bad)
            except (OSError, library.ClientError):
                return await post(url)

        return two

    return Way(lambda: post(url), stream, failing)


def floor(url: str) -> Way:
    """The least that a LangChain chat model over aiohttp and orjson can be."""
    import aiohttp as library
    import orjson
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
    from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

    session = library.ClientSession()

    def sent(messages: list[BaseMessage], **more: Any) -> bytes:
        wire = [{"role": "user", "content": m.content} for m in messages]
        return orjson.dumps({"model": "m", "messages": wire, **more})

    def usage_of(data: dict[str, Any]) -> Any:
        given = data["usage"]
        return {
            "input_tokens": given["prompt_tokens"],
            "output_tokens": given["completion_tokens"],
            "total_tokens": given["total_tokens"],
        }

    class Floor(BaseChatModel):
        @property
        def _llm_type(self) -> str:
            return "floor"

        def _generate(self, *_: Any, **__: Any) -> ChatResult:
            raise RuntimeError("asynchronous only")

        async def _agenerate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
            where = f"{url}/chat/completions"
            async with session.post(where, data=sent(messages)) as reply:
                data = orjson.loads(await reply.read())
            text = data["choices"][0]["message"]["content"]
            message = AIMessage(content=text, usage_metadata=usage_of(data))
            return ChatResult(generations=[ChatGeneration(message=message)])

        async def _astream(
            self, messages: list[BaseMessage], *_: Any, **__: Any
        ) -> AsyncIterator[ChatGenerationChunk]:
            where = f"{url}/chat/completions"
            async with session.post(where, data=sent(messages, stream=True)) as reply:
                async for line in reply.content:
                    if line.startswith(b"data: {"):
                        event = orjson.loads(line[6:])
                        if event["choices"]:
                            text = event["choices"][0]["delta"].get("content") or ""
                            yield ChatGenerationChunk(message=AIMessageChunk(content=text))

    return _langchain(Floor())


def httpx2(url: str) -> Way:
    """The library that the SDKs stand on now."""
    library = importlib.import_module("httpx2")
    client = library.AsyncClient()

    async def post() -> Any:
        reply = await client.post(f"{url}/chat/completions", json=BODY)
        return reply.json()

    async def stream() -> AsyncIterator[Any]:
        body = {**BODY, "stream": True}
        async with client.stream("POST", f"{url}/chat/completions", json=body) as reply:
            async for line in reply.aiter_lines():
                if line.startswith("data: {"):
                    yield json.loads(line[6:])

    return Way(post, stream)


def openai_sdk(url: str) -> Way:
    """The vendor's own client."""
    from openai import AsyncOpenAI

    client = AsyncOpenAI(base_url=url, api_key="none")

    async def ask() -> Any:
        return await client.chat.completions.create(**BODY)  # type: ignore[call-overload]

    async def stream() -> AsyncIterator[Any]:
        async for chunk in await client.chat.completions.create(**BODY, stream=True):  # type: ignore[call-overload]
            yield chunk

    return Way(ask, stream)


def _chat_openai(url: str) -> Any:
    from langchain_openai import ChatOpenAI

    return ChatOpenAI(model="m", base_url=url, api_key="none", stream_usage=True)  # type: ignore[arg-type]


def chat_openai(url: str) -> Way:
    """LangChain's chat model over the vendor's client."""
    return _langchain(_chat_openai(url))


def with_fallbacks(url: str) -> Way:
    """What LangChain has for failover."""

    def failing(bad: str) -> Ask:
        model = _chat_openai(bad).with_fallbacks([_chat_openai(url)])
        return lambda: model.ainvoke("Say something short, please.")

    return _langchain(_chat_openai(url).with_fallbacks([_chat_openai(url)]), failing)


def litellm(url: str) -> Way:
    """LiteLLM's router."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    library = importlib.import_module("litellm")
    library.suppress_debug_info = True

    def router(**bases: str) -> Any:
        models = [
            {
                "model_name": name,
                "litellm_params": {"model": "openai/m", "api_base": base, "api_key": "none"},
            }
            for name, base in bases.items()
        ]
        return library.Router(model_list=models, fallbacks=[{"first": ["second"]}])

    one = router(first=url, second=url)

    async def ask() -> Any:
        return await one.acompletion(model="first", messages=MESSAGES)

    async def stream() -> AsyncIterator[Any]:
        async for chunk in await one.acompletion(model="first", messages=MESSAGES, stream=True):
            yield chunk

    def failing(bad: str) -> Ask:
        two = router(first=bad, second=url)
        return lambda: two.acompletion(model="first", messages=MESSAGES)

    return Way(ask, stream, failing)


_names = itertools.count()


def _router(urls: list[str], *, budget: bool = False, transport: str = "lean") -> Any:
    """At default settings. New names each time: what is known of an upstream is shared by name."""
    import nearfar
    from nearfar.settings import Settings

    names = [f"m{next(_names)}" for _ in urls]
    shape = {
        "provider": "openai-compatible",
        "model": "m",
        "api_key": "none",
        "transport": transport,
    }
    price = {"input": 0.2, "output": 0.6}
    given: dict[str, Any] = {
        "models": {
            name: {**shape, "base_url": url, "price": price}
            for name, url in zip(names, urls, strict=True)
        },
        "routers": {"default": {"candidates": names}},
    }
    if budget:
        given["budgets"] = {"daily": {"limit_usd": 1_000_000, "per": "day"}}
        given["routers"]["default"]["budget"] = "daily"
    return nearfar.chat_model(settings=Settings.model_validate(given))


def lean(url: str) -> Way:
    """Nearfar's chat model for OpenAI-shaped upstreams."""
    from nearfar.llm.openai_wire import OpenAIWireChatModel

    return _langchain(OpenAIWireChatModel(model="m", base_url=url))


def router(url: str) -> Way:
    """Nearfar's router over its lean model."""

    def failing(bad: str) -> Ask:
        model = _router([bad, url])
        return lambda: model.ainvoke("Say something short, please.")

    return _langchain(_router([url, url]), failing)


def router_budget(url: str) -> Way:
    """The same with a budget: a reservation and its settlement for each call."""
    return _langchain(_router([url, url], budget=True))


def router_sdk(url: str) -> Way:
    """Nearfar's router over ChatOpenAI."""
    return _langchain(_router([url, url], transport="sdk"))


def _langchain(model: Any, failing: Callable[[str], Ask] | None = None) -> Way:
    words = "Say something short, please."
    return Way(lambda: model.ainvoke(words), lambda: model.astream(words), failing)


WAYS: dict[str, Callable[[str], Way]] = {
    "aiohttp": aiohttp,
    "floor": floor,
    "httpx2": httpx2,
    "openai": openai_sdk,
    "ChatOpenAI": chat_openai,
    "with_fallbacks": with_fallbacks,
    "LiteLLM": litellm,
    "lean": lean,
    "router": router,
    "router+budget": router_budget,
    "router/ChatOpenAI": router_sdk,
}


# ---------------------------------------------------------------------- measuring


async def one(way: Way, n: int) -> dict[str, Any]:
    """Calls one after the other."""
    seconds, cpu = [], time.process_time()
    for _ in range(n):
        start = time.perf_counter()
        await way.ask()
        seconds.append(time.perf_counter() - start)
    return {"seconds": seconds, "cpu_s": (time.process_time() - cpu) / n}


async def many(way: Way, n: int, at: int) -> dict[str, Any]:
    """``n`` calls, ``at`` of them in flight at any time."""
    left = iter(range(n))
    seconds: list[float] = []

    async def worker() -> None:
        for _ in left:
            start = time.perf_counter()
            await way.ask()
            seconds.append(time.perf_counter() - start)

    cpu, start = time.process_time(), time.perf_counter()
    await asyncio.gather(*[worker() for _ in range(at)])
    took = time.perf_counter() - start
    return {"per_s": n / took, "cpu_s": (time.process_time() - cpu) / n, "seconds": seconds}


async def stream(way: Way, n: int) -> dict[str, Any]:
    """Streams one after the other; ``chunks`` as they came, of all streams."""
    first, chunks, cpu = [], 0, time.process_time()
    for _ in range(n):
        start, begun = time.perf_counter(), False
        async for _chunk in way.stream():
            if not begun:
                first.append(time.perf_counter() - start)
                begun = True
            chunks += 1
    return {"first_s": first, "cpu_s": time.process_time() - cpu, "chunks": chunks}


async def failover(way: Way, n: int, bad: str) -> dict[str, Any]:
    """Each call by a router that has not yet met the failing upstream."""
    assert way.failing is not None
    seconds = []
    for _ in range(n):
        ask = way.failing(bad)
        start = time.perf_counter()
        await ask()
        seconds.append(time.perf_counter() - start)
    return {"seconds": seconds}


async def answer(way: Way, question: dict[str, Any]) -> dict[str, Any]:
    """One question of the asking side."""
    kind = question.pop("do")
    if kind == "memory":
        scale = 2**20 if sys.platform == "darwin" else 2**10
        return {"mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale}
    measure: dict[str, Callable[..., Awaitable[dict[str, Any]]]] = {
        "one": one,
        "many": many,
        "stream": stream,
        "failover": failover,
    }
    return await measure[kind](way, **question)


async def main() -> None:
    """Answer until standard input ends."""
    loop = asyncio.get_running_loop()
    make, url = WAYS[sys.argv[1]], sys.argv[2]
    short, long = make(url), make(url.replace("/good/", "/long/"))
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        question = json.loads(line)
        way = long if question["do"] == "stream" else short
        print(json.dumps(await answer(way, question)), flush=True)
    os._exit(0)  # clients keep threads and connections; there is nothing left to finish


if __name__ == "__main__":
    asyncio.run(main())
