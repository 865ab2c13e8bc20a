"""A person says what became of an effect, and its run goes on."""

import asyncio
from typing import TYPE_CHECKING

from nearfar.errors import RunStateError, UsageError
from nearfar.settings import Settings
from nearfar.storage.effects import Done, Effect, EffectStore, NotDone

if TYPE_CHECKING:
    from .handle import Run
    from .runner import Runner


def in_doubt(settings: Settings, run_id: str) -> list[Effect]:
    """The effects of a run that it cannot go on without knowing more about, oldest first."""
    with EffectStore.open(settings) as store:
        return [effect for effect in store.of_run(run_id) if is_in_doubt(effect)]


def is_in_doubt(effect: Effect) -> bool:
    """Nobody knows whether it was done, or what it returned."""
    return effect.status in ("reserved", "unknown") or (effect.status == "done" and not effect.kept)


async def settle(
    runner: "Runner", run_id: str, outcome: Done | NotDone, *, key: str | None = None
) -> "Run":
    """Note the outcome, and go on with the run.

    ``key`` says which effect is meant, where several are in doubt; when others remain so, the run
    stops at the next of them. Raises RunNotFoundError, RunStateError, UsageError.
    """
    record = await runner.journal.get(run_id)
    if record.status in ("running", "queued", "parked"):
        raise RunStateError(
            f"The run {run_id} is {record.status}: it finds out by itself what became of an effect.",
            data={"run_id": run_id, "status": record.status},
        )
    effects = await asyncio.to_thread(in_doubt, runner.settings, run_id)
    chosen = _chosen(run_id, effects, key)
    if isinstance(outcome, NotDone) and chosen.status == "done":
        raise UsageError(
            f"{chosen.name} was done; only what it returned is not known.",
            remedy="Say --done VALUE.",
        )
    await asyncio.to_thread(_settle, runner.settings, chosen, outcome)
    return await runner.resume(run_id)


def _chosen(run_id: str, effects: list[Effect], key: str | None) -> Effect:
    found = [effect for effect in effects if key is None or effect.key == key]
    if len(found) == 1:
        return found[0]
    known = ", ".join(f"{effect.name} ({effect.key})" for effect in effects)
    if not found:
        raise RunStateError(
            f"The run {run_id} has no effect{f' {key}' if key else ''} that is in doubt.",
            remedy=f"In doubt: {known}." if known else "`nearfar runs show ID` shows its effects.",
            data={"run_id": run_id, "status": None},
        )
    raise UsageError(
        f"Several effects of the run {run_id} are in doubt: {known}.",
        remedy="Name the one that is meant: --effect KEY.",
    )


def _settle(settings: Settings, effect: Effect, outcome: Done | NotDone) -> None:
    with EffectStore.open(settings) as store:
        store.settle(effect, outcome, by="person")
