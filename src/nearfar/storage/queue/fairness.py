"""Who is next: by priority, then by turns among tenants, within the limits. Nothing here does I/O."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

SUSPECT = 3
"""The class below batch: runs that are suspected of ending their program; one at a time."""


@dataclass(frozen=True)
class Limit:
    """``None``: without end."""

    concurrency: int | None = None  # runs at the same time
    per_minute: int | None = None  # runs that begin within any 60 seconds


@dataclass(frozen=True)
class Limits:
    """By name; ``*`` holds for each one that is not named."""

    workflows: Mapping[str, Limit] = field(default_factory=dict)
    tenants: Mapping[str, Limit] = field(default_factory=dict)


@dataclass(frozen=True)
class Waiting:
    """A run that could begin."""

    run_id: str
    thread_id: str
    workflow: str
    tenant: str
    rank: int  # its class of priority; 0 comes first
    seq: int


@dataclass(frozen=True)
class Begun:
    """A run that has a ticket, or is worked on. ``rank`` is None for one that has no ticket."""

    workflow: str
    tenant: str
    rank: int | None


@dataclass(frozen=True)
class Slots:
    """How many runs a worker takes at once; ``workflows`` None: of all."""

    count: int
    workflows: frozenset[str] | None = None

    def serve(self, workflow: str) -> bool:
        """Whether the worker takes runs of that workflow."""
        return self.workflows is None or workflow in self.workflows


Turn = tuple[int, str]
"""A class of priority and a tenant."""


@dataclass
class Turns:
    """How often each tenant was served in its class, counted from when it began to wait.

    Start-time fair queueing: who comes new, or comes back, starts where the others stand, so that
    nobody saves turns up, and nobody's backlog holds a newcomer.
    """

    served: dict[Turn, float] = field(default_factory=dict)
    now: dict[int, float] = field(default_factory=dict)  # the turn of who was served last

    def of(self, turn: Turn) -> float:
        """The number of the tenant's next turn; the smallest is next."""
        return max(self.served.get(turn, 0.0), self.now.get(turn[0], 0.0))

    def take(self, turn: Turn) -> None:
        """The tenant is served."""
        self.now[turn[0]] = self.of(turn)
        self.served[turn] = self.now[turn[0]] + 1.0


class Chooser:
    """Chooses runs one after the other; each choice counts for the next."""

    def __init__(
        self,
        workers: Iterable[Slots],
        begun: Iterable[Begun],
        minute: Iterable[tuple[str, str]],  # workflow and tenant of what began within 60 s
        *,
        limits: Limits,
        turns: Turns,
        suspects_at: int = SUSPECT,
    ) -> None:
        self._workers = list(workers)
        self._most = 2 * sum(worker.count for worker in self._workers)
        self._limits = limits
        self._turns = turns
        self._suspects_at = suspects_at
        self._tickets: Counter[int] = Counter()
        self._of_workflow: Counter[tuple[str, int]] = Counter()
        self._active: Counter[tuple[str, str]] = Counter()
        self._started: Counter[tuple[str, str]] = Counter()
        self._tenants: Counter[str] = Counter()
        for one in begun:
            self._count(one.workflow, one.tenant, one.rank)
        for workflow, tenant in minute:
            self._started["workflow", workflow] += 1
            self._started["tenant", tenant] += 1

    def choose(self, waiting: Iterable[Waiting]) -> list[Waiting]:
        """Those that get a ticket now, in the order of their tickets.

        As many as there are slots, and as many again, so that no worker waits for the next choice;
        but those of a higher priority never for those of a lower one.
        """
        lines: dict[int, dict[str, list[Waiting]]] = defaultdict(lambda: defaultdict(list))
        for one in sorted(waiting, key=lambda one: one.seq, reverse=True):
            lines[one.rank][one.tenant].append(one)  # the next one last
        chosen: list[Waiting] = []
        for rank in sorted(lines):
            while True:
                run = self._next(rank, lines[rank])
                if run is None:
                    break
                chosen.append(run)
                self._turns.take((rank, run.tenant))
                self._count(run.workflow, run.tenant, rank)
                self._started["workflow", run.workflow] += 1
                self._started["tenant", run.tenant] += 1
        return chosen

    def _next(self, rank: int, line: dict[str, list[Waiting]]) -> Waiting | None:
        if rank >= self._suspects_at and self._tickets[rank]:
            return None  # one at a time
        if sum(n for other, n in self._tickets.items() if other <= rank) >= self._most:
            return None
        share = self._share(line)
        by_turn = sorted(
            (tenant for tenant in line if line[tenant]),
            key=lambda tenant: (
                self._tenants[tenant] >= share,  # not while others wait
                self._turns.of((rank, tenant)),
                line[tenant][-1].seq,
            ),
        )
        for tenant in by_turn:
            for place in reversed(range(len(line[tenant]))):
                if self._may_begin(line[tenant][place]):
                    return line[tenant].pop(place)
        return None

    def _share(self, line: dict[str, list[Waiting]]) -> int:
        """Tickets that a tenant may hold while others wait: all of them, by the number of tenants."""
        tenants = {tenant for tenant in line if line[tenant]} | {
            tenant for tenant, count in self._tenants.items() if count
        }
        return max(1, math.ceil(self._most / max(1, len(tenants))))

    def _may_begin(self, run: Waiting) -> bool:
        serving = 2 * sum(one.count for one in self._workers if one.serve(run.workflow))
        above = sum(self._of_workflow[run.workflow, rank] for rank in range(run.rank + 1))
        if above >= serving:
            return False
        return self._within(self._limits.workflows, "workflow", run.workflow) and self._within(
            self._limits.tenants, "tenant", run.tenant
        )

    def _within(self, limits: Mapping[str, Limit], kind: str, name: str) -> bool:
        limit = limits.get(name, limits.get("*"))
        if limit is None:
            return True
        active, started = self._active[kind, name], self._started[kind, name]
        return (limit.concurrency is None or active < limit.concurrency) and (
            limit.per_minute is None or started < limit.per_minute
        )

    def _count(self, workflow: str, tenant: str, rank: int | None) -> None:
        if rank is not None:
            self._tickets[rank] += 1
            self._of_workflow[workflow, rank] += 1
        self._active["workflow", workflow] += 1
        self._active["tenant", tenant] += 1
        self._tenants[tenant] += 1
