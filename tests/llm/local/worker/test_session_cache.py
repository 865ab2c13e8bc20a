"""States are shared where prompts agree, and memory stays within its bound."""

import random

import pytest

from nearfar.llm.local.worker.session_cache import Session, SessionCache, bucket, next_border

PORTION = 128


class FakeGenerator:
    """Remembers the native calls behind every token it holds."""

    made = 0

    def __init__(self, size: int) -> None:
        type(self).made += 1
        self.size = size
        self.calls: list[tuple[int, ...]] = []

    def append(self, tokens: list[int]) -> None:
        self.calls.append(tuple(tokens))
        assert len(self) <= self.size

    def rewind(self, length: int) -> None:
        kept: list[tuple[int, ...]] = []
        while sum(map(len, kept)) < length:
            kept.append(self.calls[len(kept)])
        assert sum(map(len, kept)) == length, "a call was cut in two"
        self.calls = kept

    def __len__(self) -> int:
        return sum(map(len, self.calls))


def make_cache(
    limit_bytes: int = 10**9, window: int = 8192, portion: int = PORTION
) -> SessionCache:
    return SessionCache(
        FakeGenerator,  # type: ignore[arg-type]  # the four calls are all that is used
        lambda size: size * 10,
        limit_bytes=limit_bytes,
        portion=portion,
        window=window,
    )


def prefill(session: Session, prompt: list[int], portion: int = PORTION) -> None:
    while len(session.tokens) < len(prompt):
        start = len(session.tokens)
        border = next_border(start, portion)
        session.append(prompt[start : min(border, len(prompt))])
        if border <= len(prompt):
            session.stable = border


def serve(cache: SessionCache, prompt: list[int], reply: list[int], portion: int = PORTION) -> int:
    session, shared = cache.acquire(prompt, len(prompt) + len(reply))
    assert session.tokens == prompt[:shared]
    prefill(session, prompt, portion)
    cold = FakeGenerator(10**6)
    prefill(Session(cold, 10**6, 0), prompt, portion)  # type: ignore[arg-type]
    generator = session.generator
    assert isinstance(generator, FakeGenerator)
    assert generator.calls == cold.calls, "the native calls differ from those without reuse"
    for token in reply:
        session.append([token])
    cache.release(session)
    return shared


def test_borders_depend_on_the_position_alone() -> None:
    assert [next_border(p, 128) for p in (0, 31, 32, 63, 64, 127, 128, 300)] == [
        32, 32, 64, 64, 128, 128, 256, 384,
    ]  # fmt: skip
    assert [next_border(p, 1) for p in (0, 1, 2)] == [1, 2, 3]
    assert [next_border(p, 2) for p in (0, 1, 2)] == [1, 2, 4]


@pytest.mark.parametrize("portion", [1, 2, 3, 16, 128])
def test_any_history_leads_to_the_native_calls_of_a_cold_start(portion: int) -> None:
    rng = random.Random(portion)
    cache = make_cache(limit_bytes=30_000, portion=portion)
    history: list[list[int]] = [[]]
    for _ in range(300):
        old = rng.choice(history[-8:])
        prompt = old[: rng.randrange(len(old) + 1)]
        prompt = prompt + [rng.randrange(3) for _ in range(rng.randint(1, 200))]
        prompt = prompt[-1500:]
        reply = [rng.randrange(3) for _ in range(rng.randint(0, 60))]
        serve(cache, prompt, reply, portion)
        history.append(prompt + reply)


def test_a_second_turn_reuses_the_prompt_up_to_the_last_border() -> None:
    cache = make_cache()
    first, reply = list(range(2000)), list(range(50))
    assert serve(cache, first, reply) == 0
    assert serve(cache, [*first, *reply, *range(30)], reply) == 1920


def test_a_short_prompt_shares_too() -> None:
    cache = make_cache()
    serve(cache, list(range(70)), [1, 2])
    assert serve(cache, [*range(70), 5, 6, 7], []) == 64


def test_the_last_token_of_a_prompt_is_always_computed() -> None:
    cache = make_cache()
    serve(cache, list(range(256)), [])
    assert serve(cache, list(range(256)), []) == 128


def test_a_long_conversation_survives_one_that_shares_only_its_beginning() -> None:
    cache = make_cache()
    system = list(range(100))
    long = system + [7] * 1500
    serve(cache, long, [1])
    assert serve(cache, system + [8] * 100, [1]) == 0
    assert serve(cache, [*long, 1, 2, 3], [1]) == 1536


def test_without_room_the_least_recently_used_state_goes() -> None:
    cache = make_cache(limit_bytes=2 * 1024 * 10)
    a, b, c = ([letter] * 600 for letter in (1, 2, 3))
    serve(cache, a, [])
    serve(cache, b, [])
    serve(cache, c, [])
    assert cache.total_bytes <= 2 * 1024 * 10
    assert serve(cache, [*b, 9], []) == 512
    assert serve(cache, [*c, 9], []) == 512
    assert serve(cache, [*a, 9], []) == 0


def test_a_state_larger_than_the_limit_is_kept_alone() -> None:
    cache = make_cache(limit_bytes=1)
    serve(cache, list(range(300)), [])
    assert serve(cache, [*range(300), 1], []) == 256
    assert cache.idle_count == 1


def test_limit_0_keeps_nothing() -> None:
    cache = make_cache(limit_bytes=0)
    serve(cache, list(range(300)), [])
    cache.prepare()
    assert (cache.idle_count, cache.total_bytes) == (0, 0)
    assert serve(cache, [*range(300), 1], []) == 0


def test_states_in_use_count_and_are_not_shared() -> None:
    cache = make_cache()
    prompt = list(range(300))
    first, _ = cache.acquire(prompt, 400)
    second, shared = cache.acquire(prompt, 400)
    assert first is not second
    assert shared == 0
    assert cache.total_bytes == first.size_bytes + second.size_bytes
    cache.discard(first)
    cache.release(second)
    assert cache.total_bytes == second.size_bytes


def test_a_prepared_state_is_used_and_made_only_once() -> None:
    cache = make_cache()
    cache.prepare()
    cache.prepare()
    before = FakeGenerator.made
    cache.release(cache.acquire(list(range(200)), 300)[0])
    assert FakeGenerator.made == before


def test_a_state_that_lost_count_is_thrown_away() -> None:
    cache = make_cache()
    session, _ = cache.acquire([1, 2, 3], 10)
    session.generator.append([1])
    cache.release(session)
    assert cache.total_bytes == 0


def test_a_state_that_cannot_be_rewound_is_not_handed_out_again() -> None:
    cache = make_cache()
    serve(cache, list(range(300)), [])
    kept = cache.acquire([*range(300), 1], 310)[0]
    cache.release(kept)

    def fail(length: int) -> None:
        raise RuntimeError("no")

    kept.generator.rewind = fail  # type: ignore[method-assign]
    prefill(kept, list(range(300)))
    with pytest.raises(RuntimeError):
        cache.acquire([*range(300), 1], 310)
    assert cache.total_bytes == 0


def test_when_memory_is_short_the_cache_gives_way() -> None:
    cache = make_cache()
    serve(cache, [1] * 300, [])
    failures = iter([True, False])

    def scarce(size: int) -> FakeGenerator:
        if next(failures):
            raise MemoryError
        return FakeGenerator(size)

    cache._make = scarce  # type: ignore[assignment]
    session, shared = cache.acquire([2] * 300, 400)
    assert shared == 0
    assert cache.total_bytes == session.size_bytes


def test_buckets_are_powers_of_two_within_the_window() -> None:
    assert bucket(10, 128, 4096) == 512
    assert bucket(896, 128, 4096) == 1024
    assert bucket(897, 128, 4096) == 2048
    assert bucket(2048, 128, 2048) == 2048
    assert bucket(300, 128, 300) == 300
