"""Requests share the model fairly, wait in order, and end when nobody wants them any more."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from nearfar.errors import EngineBusyError
from nearfar.llm.local.engine import Engine, Finish, TextChunk

from .engine_kit import Calls, open_engine, request, result, until


@pytest.fixture(scope="module")
def engine(slow_model: Path) -> Iterator[Engine]:
    with open_engine(slow_model, hang_s=30) as engine:
        yield engine


def queued(engine: Engine, count: int) -> bool:
    return engine.stats().queued == count


async def eventually(condition: Callable[[], Any]) -> None:
    """``until`` for an event loop."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in another process
            await asyncio.sleep(0.005)


def idle(engine: Engine) -> bool:
    stats = engine.stats()
    return (stats.active, stats.queued) == (0, 0)


def test_a_newcomer_s_prefill_and_another_s_decoding_interleave(engine: Engine) -> None:
    running = engine.generate(request(30, 2000))
    next(running)
    late: list[Any] = []
    joiner = threading.Thread(
        target=lambda: late.extend(engine.generate(request(1500, 5, start=3)))
    )
    joiner.start()
    beside = 0
    for item in running:
        assert isinstance(item, TextChunk), "the newcomer had to wait for the end of the other"
        beside += 1
        if not joiner.is_alive():
            break
    running.close()
    assert isinstance(late[-1], Finish)
    assert beside >= 12, "one token at least for each of the newcomer's 14 portions, less a few"
    until(lambda: idle(engine))


def test_equal_requests_progress_at_the_same_pace(engine: Engine) -> None:
    asked = [request(40, 60, start=number) for number in range(1, 5)]
    paces: list[float] = []
    begin = time.monotonic()

    def run(number: int) -> None:
        tokens = result(engine.generate(asked[number]))[1]
        paces.append((time.monotonic() - begin) / len(tokens))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(paces) == 4
    assert max(paces) < 2 * min(paces), "one after the other it would be four times"


def test_what_waits_is_served_in_order_and_the_queue_has_a_limit(slow_model: Path) -> None:
    with open_engine(slow_model, max_active=1, queue_limit=2) as engine:
        first = engine.generate(request(20, 1000))
        next(first)
        order: list[int] = []

        def run(number: int) -> None:
            result(engine.generate(request(20, 2)))
            order.append(number)

        threads = [threading.Thread(target=run, args=(number,)) for number in range(2)]
        for waiting, thread in enumerate(threads, 1):
            thread.start()
            until(partial(queued, engine, waiting))
        with pytest.raises(EngineBusyError) as caught:
            next(engine.generate(request()))
        assert caught.value.data == {"queued": 2, "limit": 2}
        first.close()
        for thread in threads:
            thread.join(30)
        assert order == [0, 1]
        assert result(engine.generate(request()))[2].reason == "length"


def test_a_cancelled_request_stops_within_two_tokens(
    random_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = Calls(tmp_path, monkeypatch)
    with open_engine(random_model) as engine:
        for _ in range(3):
            stream = engine.generate(request(20, 500))
            for _ in range(4):
                next(stream)
            before = calls.count()
            stream.close()
            until(lambda: idle(engine))
            assert calls.count() - before <= 2
            assert list(stream) == []


def test_a_cancelled_prefill_stops_between_portions(
    random_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = Calls(tmp_path, monkeypatch)

    async def cancel_early(engine: Engine) -> None:
        async def run() -> None:
            async for _ in engine.agenerate(request(1900, 5)):
                pass

        tried = calls.count()
        task = asyncio.create_task(run())
        await eventually(lambda: calls.count() >= tried + 3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        before = calls.count()
        await eventually(lambda: idle(engine))
        assert calls.count() - before <= 2

    with open_engine(random_model) as engine:
        engine.info()
        asyncio.run(cancel_early(engine))
        assert engine.stats().generated_tokens == 0
        after = result(engine.generate(request(1900, 1)))[2].usage
        assert after.cached_tokens > 0, "what was computed before the cancel is of use"


def test_dropping_a_stream_cancels_it(engine: Engine) -> None:
    stream = engine.generate(request(20, 3000))
    next(stream)
    del stream
    until(lambda: idle(engine), timeout_s=5)

    async def leave() -> None:
        async for _ in engine.agenerate(request(20, 3000)):
            break

    asyncio.run(leave())
    until(lambda: idle(engine), timeout_s=5)


def test_a_request_cancelled_in_the_queue_never_begins(slow_model: Path) -> None:
    with open_engine(slow_model, max_active=1) as engine:
        first = engine.generate(request(20, 500))
        next(first)
        asked: list[asyncio.Task[Any]] = []

        async def give_up() -> None:
            stream = engine.agenerate(request(20, 500))
            asked.append(asyncio.ensure_future(anext(aiter(stream))))
            await eventually(lambda: queued(engine, 1))
            asked[0].cancel()
            await eventually(lambda: queued(engine, 0))

        asyncio.run(give_up())
        assert engine.stats().active == 1
        first.close()


def test_a_request_cancelled_while_the_model_loads_never_begins(random_model: Path) -> None:
    async def give_up(engine: Engine) -> None:
        task = asyncio.ensure_future(anext(aiter(engine.agenerate(request(20, 500)))))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])

    with open_engine(random_model) as engine:
        asyncio.run(give_up(engine))
        assert idle(engine)
        engine.info()
        assert engine.stats().generated_tokens == 0


def test_a_long_prefill_stalls_the_event_loop_for_less_than_50_ms(engine: Engine) -> None:
    engine.info()

    async def longest_gap() -> float:
        async def run() -> None:
            async for _ in engine.agenerate(request(768, 1, start=5)):
                pass

        task = asyncio.create_task(run())
        longest = 0.0
        while not task.done():
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            longest = max(longest, time.perf_counter() - before - 0.001)
        await task
        return longest

    assert min(asyncio.run(longest_gap()) for _ in range(3)) < 0.05


def test_several_async_streams_at_once(engine: Engine) -> None:
    asked = [request(30, 15, start=number) for number in range(1, 7)]
    alone = [result(engine.generate(one))[1] for one in asked]

    async def collect(one: Any) -> list[int]:
        found: list[int] = []
        async for item in engine.agenerate(one):
            if isinstance(item, TextChunk):
                found += item.token_ids
        return found

    async def together() -> list[list[int]]:
        return await asyncio.gather(*(collect(one) for one in asked))

    assert asyncio.run(together()) == alone
