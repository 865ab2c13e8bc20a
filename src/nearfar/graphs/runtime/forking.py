"""A thread's history up to one checkpoint, as a thread of its own."""

from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple

from nearfar.errors import RunStateError


async def copy_until(
    saver: BaseCheckpointSaver[str], source: str, target: str, checkpoint_id: str | None
) -> str:
    """Copy the checkpoint (None: the last one) with all it came from; its id.

    What was written on the checkpoint itself is left behind: the steps after it run anew.
    Raises RunStateError when the thread has no such checkpoint.
    """
    held = [found async for found in saver.alist({"configurable": {"thread_id": source}})]
    held.reverse()  # the oldest first, whatever the clock said
    by_id = {_id(one): one for one in held if not _space(one)}
    chosen = checkpoint_id or next(reversed(by_id), "")
    if chosen not in by_id:
        raise RunStateError(
            f"The thread {source!r} has no checkpoint {chosen!r}.",
            remedy="`nearfar runs show ID` lists the checkpoints that are kept.",
            data={"thread_id": source, "checkpoint_id": chosen},
        )
    line = set(_line(by_id, chosen))
    for one in held:
        # Subgraphs that keep a state of their own have a namespace without a task's id.
        if (_id(one) in line) if not _space(one) else (":" not in _space(one)):
            await _copy(saver, one, target, writes=_id(one) != chosen)
        if _id(one) == chosen:
            break
    return chosen


def _line(by_id: dict[str, CheckpointTuple], chosen: str) -> list[str]:
    line = []
    at: str | None = chosen
    while at is not None and at in by_id:
        line.append(at)
        parent = by_id[at].parent_config
        at = parent["configurable"]["checkpoint_id"] if parent else None
    return line


async def _copy(
    saver: BaseCheckpointSaver[str], one: CheckpointTuple, target: str, *, writes: bool
) -> None:
    parent = one.parent_config
    place: dict[str, Any] = {"thread_id": target, "checkpoint_ns": _space(one)}
    above = {"checkpoint_id": parent["configurable"]["checkpoint_id"]} if parent else {}
    await saver.aput(
        {"configurable": {**place, **above}},
        one.checkpoint,
        one.metadata,
        one.checkpoint["channel_versions"],
    )
    if not writes:
        return
    by_task: dict[str, list[tuple[str, Any]]] = {}
    for task_id, channel, value in one.pending_writes or ():
        by_task.setdefault(task_id, []).append((channel, value))
    for task_id, pairs in by_task.items():
        config = {"configurable": {**place, "checkpoint_id": _id(one)}}
        await saver.aput_writes(config, pairs, task_id)  # type: ignore[arg-type]


def _id(one: CheckpointTuple) -> str:
    return str(one.config["configurable"]["checkpoint_id"])


def _space(one: CheckpointTuple) -> str:
    return str(one.config["configurable"].get("checkpoint_ns", ""))
