"""Who is next: priority first, then turns among tenants, within the limits."""

import random
from collections import Counter
from typing import Any

import pytest

from nearfar.storage.queue.fairness import Begun, Chooser, Limit, Limits, Slots, Turns, Waiting
from nearfar.storage.queue.tickets import queue_of


def run(seq: int, tenant: str = "a", workflow: str = "w", rank: int = 1) -> Waiting:
    return Waiting(f"r{seq}", f"t{seq}", workflow, tenant, rank, seq)


def chooser(slots: int = 4, **given: Any) -> Chooser:
    return Chooser(
        given.get("workers", [Slots(slots)]),
        given.get("begun", []),
        given.get("minute", []),
        limits=given.get("limits", Limits()),
        turns=given.get("turns", Turns()),
    )


def ids(chosen: list[Waiting]) -> list[int]:
    return [one.seq for one in chosen]


def test_as_many_as_there_are_slots_and_as_many_again() -> None:
    assert ids(chooser(2).choose([run(n) for n in range(9)])) == [0, 1, 2, 3]
    begun = [Begun("w", "a", 1)] * 3
    assert ids(chooser(2, begun=begun).choose([run(n) for n in range(9)])) == [0]


def test_a_higher_priority_does_not_wait_for_tickets_of_a_lower_one() -> None:
    begun = [Begun("w", "a", 2)] * 8
    waiting = [run(1, rank=2), run(2, rank=0), run(3, rank=1)]
    assert ids(chooser(4, begun=begun).choose(waiting)) == [2, 3]


@pytest.mark.parametrize("seed", range(5))
def test_while_all_wait_each_has_as_many_turns(seed: int) -> None:
    chance = random.Random(seed)
    tenants = [f"t{n}" for n in range(20)]
    waiting = [run(n, tenant=chance.choice(tenants[: 1 + n % 20])) for n in range(5000)]
    turns, served = Turns(), []
    while waiting:
        chosen = chooser(chance.randint(1, 8), turns=turns).choose(waiting)
        gone = {one.run_id for one in chosen}
        waiting = [one for one in waiting if one.run_id not in gone]
        served += [one.tenant for one in chosen]
        counts = Counter(served)
        left = Counter(one.tenant for one in waiting)
        if all(left[name] for name in tenants):
            assert max(counts.values()) - min(counts[name] for name in tenants) <= 1
    assert len(served) == 5000


def test_who_comes_new_is_next_but_has_saved_no_turns_up() -> None:
    turns = Turns()
    chooser(50, turns=turns).choose([run(n) for n in range(100)])
    waiting = [run(n, tenant="a") for n in range(200, 220)]
    waiting += [run(n, tenant="new") for n in range(300, 320)]
    order = [one.tenant for one in chooser(8, turns=turns).choose(waiting)]
    assert Counter(order) == {"a": 8, "new": 8}


def test_one_that_holds_its_share_waits_while_others_do() -> None:
    begun = [Begun("w", "slow", 1)] * 4
    waiting = [run(1, tenant="slow"), *(run(n, tenant="b") for n in range(2, 9))]
    assert "slow" not in {one.tenant for one in chooser(4, begun=begun).choose(waiting)}
    alone = chooser(4, begun=begun).choose([run(1, tenant="slow")])
    assert ids(alone) == [1]


def test_limits_hold_for_workflows_and_tenants_and_let_others_pass() -> None:
    limits = Limits(
        workflows={"slow": Limit(concurrency=1)},
        tenants={"*": Limit(per_minute=3), "vip": Limit()},
    )
    waiting = [run(n, tenant=f"x{n}", workflow="slow") for n in range(3)]
    waiting += [run(10 + n) for n in range(5)] + [run(20 + n, tenant="vip") for n in range(5)]
    chosen = chooser(20, limits=limits, minute=[("w", "a")]).choose(waiting)
    assert Counter(one.workflow for one in chosen)["slow"] == 1
    assert Counter(one.tenant for one in chosen)["a"] == 2  # one began within the minute before
    assert Counter(one.tenant for one in chosen)["vip"] == 5


def test_runs_that_no_worker_serves_take_no_tickets_from_others() -> None:
    workers = [Slots(1, frozenset({"w"}))]
    waiting = [run(n, workflow="other") for n in range(5)] + [run(9)]
    assert ids(chooser(workers=workers).choose(waiting)) == [9]


def test_suspects_come_last_and_one_at_a_time() -> None:
    waiting = [run(1, rank=3), run(2, rank=3), run(3, rank=2)]
    assert ids(chooser().choose(waiting)) == [3, 1]
    assert ids(chooser(begun=[Begun("w", "a", 3)]).choose(waiting)) == [3]


def test_the_name_of_a_queue_fits_into_that_of_a_channel() -> None:
    assert queue_of("extract") == "extract"
    long = queue_of("/home/somebody/projects/reports/flow.py:graph")
    assert len(f"procrastinate_queue_v1#{long}".encode()) < 64
    assert long != queue_of("/home/somebody/projects/reports/flow.py:graph2")
