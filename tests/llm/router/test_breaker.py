"""The breaker, by a clock that the test turns."""

import random

import pytest

from nearfar.llm.router import Breaker, BreakerOptions
from nearfar.llm.router.breaker import EARLY_S


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Upright(random.Random):
    """No jitter."""

    def uniform(self, a: float, b: float) -> float:
        return b


@pytest.fixture
def clock() -> Clock:
    return Clock()


def breaker(clock: Clock, **options: float) -> Breaker:
    given = BreakerOptions(**{"failures": 5, "open_s": 5.0, "max_open_s": 60.0, **options})  # type: ignore[arg-type]
    return Breaker(given, clock=clock, wall_clock=clock, rng=Upright())


def fail(breaker: Breaker, times: int = 1) -> None:
    for _ in range(times):
        permit = breaker.admit()
        assert permit is not None
        breaker.failed(permit)


def succeed(breaker: Breaker, times: int = 1, *, slow: bool = False) -> None:
    for _ in range(times):
        permit = breaker.admit()
        assert permit is not None
        breaker.succeeded(permit, slow=slow)


def test_it_opens_after_so_many_failures_in_a_row_and_not_before(clock: Clock) -> None:
    tried = breaker(clock)
    fail(tried, 4)
    assert tried.health().state == "closed"
    fail(tried)
    assert tried.health().state == "open"
    assert tried.admit() is None
    assert tried.health().opens_again_s == 5


def test_a_success_between_failures_starts_the_count_again(clock: Clock) -> None:
    tried = breaker(clock, failures=3)
    for _ in range(4):
        fail(tried, 2)
        succeed(tried, 4)
    assert tried.is_closed


def test_it_opens_when_more_than_half_of_the_last_ten_failed(clock: Clock) -> None:
    tried = breaker(clock)
    succeed(tried, 4)
    for _ in range(4):
        fail(tried, 2)
        if not tried.is_closed:
            break
        succeed(tried)
    assert tried.health().outcomes.count("failed") == 6
    assert not tried.is_closed


def test_it_opens_when_first_tokens_are_slow_again_and_again(clock: Clock) -> None:
    tried = breaker(clock)
    succeed(tried, 4, slow=True)
    assert tried.is_closed
    succeed(tried, 1, slow=True)
    assert not tried.is_closed


def test_half_open_it_lets_one_probe_through_whose_success_closes_it(clock: Clock) -> None:
    tried = breaker(clock)
    fail(tried, 5)
    clock.now += 5
    assert tried.health().state == "half_open"
    probe = tried.admit()
    assert probe is not None
    assert tried.admit() is None
    tried.succeeded(probe)
    assert tried.health().state == "closed"
    succeed(tried, 20)


def test_its_time_doubles_with_each_failed_probe_up_to_the_longest(clock: Clock) -> None:
    tried = breaker(clock, max_open_s=30)
    fail(tried, 5)
    times = []
    for _ in range(5):
        times.append(tried.health().opens_again_s)
        clock.now += times[-1]
        fail(tried)
    assert times == [5, 10, 20, 30, 30]
    clock.now += 30
    succeed(tried)
    fail(tried, 5)
    assert tried.health().opens_again_s == 5


def test_a_probe_that_says_nothing_leaves_the_place_to_another(clock: Clock) -> None:
    tried = breaker(clock)
    fail(tried, 5)
    clock.now += 5
    probe = tried.admit()
    assert probe is not None
    tried.forget(probe)
    assert tried.admit() is not None


def test_what_was_let_through_before_it_opened_decides_nothing_after(clock: Clock) -> None:
    tried = breaker(clock)
    late = [tried.admit() for _ in range(3)]
    fail(tried, 5)
    for permit in late:
        assert permit is not None
    assert late[0] is not None
    assert late[1] is not None
    tried.succeeded(late[0])
    tried.failed(late[1])
    assert tried.health().state == "open"
    assert tried.health().opens_again_s == 5


def test_shut_it_stays_closed_for_its_longest_time_and_takes_no_early_probe(clock: Clock) -> None:
    tried = breaker(clock)
    tried.shut()
    clock.now += 59
    assert tried.admit() is None
    assert tried.admit(early=True) is None
    clock.now += 1
    assert tried.admit() is not None


def test_an_early_probe_goes_once_a_second_and_does_not_lengthen_the_time(clock: Clock) -> None:
    tried = breaker(clock)
    fail(tried, 5)
    assert tried.admit(early=True) is None
    clock.now += EARLY_S
    probe = tried.admit(early=True)
    assert probe is not None
    assert tried.admit(early=True) is None
    tried.failed(probe)
    assert tried.admit(early=True) is None
    assert tried.health().opens_again_s == 4
    clock.now += EARLY_S
    probe = tried.admit(early=True)
    assert probe is not None
    tried.succeeded(probe)
    assert tried.is_closed


def test_its_history_tells_when_it_opened_and_closed(clock: Clock) -> None:
    tried = breaker(clock)
    fail(tried, 5)
    clock.now += 5
    succeed(tried)
    assert tried.health().history == ((1000.0, "open"), (1005.0, "closed"))
    assert tried.health().opened == 1
