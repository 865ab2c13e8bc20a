"""What our checkpointers do beyond LangGraph's own, whatever database they are over."""

import asyncio
import base64
import copy
import json
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, Self, TypeVar, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointMetadata, get_checkpoint_id

from .items import Lend, Memos, Output, Sealing, Show, Splitter
from .pruning import Retention

T = TypeVar("T")

_GLANCE = "nearfar_glance"
_SEALED = "nearfar_sealed"
_RUNTIME = "__pregel_runtime"  # what LangGraph's loop has in its configuration


class ExtendedSaver(BaseCheckpointSaver[str], ABC):
    """Threads are deleted, copied and pruned, and what their runs gave is kept apart from history."""

    loop: asyncio.AbstractEventLoop
    _quiet_start = False

    def _prepare(self, serde: Sealing, retention: Retention | None, guard: Any) -> None:
        self._splitter, self._memos = Splitter(serde), Memos()
        self._retention, self._guard = retention or Retention(), guard

    def with_allowlist(self, extra_allowlist: Any) -> Self:
        """The same checkpointer, for a graph whose state declares these classes."""
        clone = copy.copy(self)
        serde = self._splitter.serde.with_types(extra_allowlist)
        clone.serde, clone._splitter = cast("Any", serde), Splitter(serde)  # noqa: SLF001 - of this class
        return clone

    def for_graph(self, types: Any, *, quiet_start: bool) -> Self:
        """The same checkpointer for one graph; ``quiet_start``: none of its code runs before its steps."""
        clone = self.with_allowlist(types)
        clone._quiet_start = quiet_start  # noqa: SLF001 - of this class
        return clone

    def _is_untouched(self, space: str, metadata: CheckpointMetadata) -> bool:
        """Whether nobody but LangGraph has had the state until the checkpoint after this one.

        That is so after the input was put in: what comes next is the state with the input.
        """
        return self._quiet_start and space == "" and metadata.get("source") == "input"

    def with_guard(self, guard: Any) -> Self:
        """The same checkpointer for a writer with a right of its own; connections and memory are shared."""
        clone = copy.copy(self)
        clone._guard = guard  # noqa: SLF001 - of this class
        return clone

    def sealed(self, plain: Any) -> Any:
        """JSON that only who has the key can read; without encryption ``plain`` as it is."""
        serde = self._splitter.serde
        if plain is None or serde.plain is serde:
            return plain
        text = json.dumps(plain, ensure_ascii=False).encode("utf-8", "surrogatepass")
        kind, content = serde.seal("json", text)
        return {_SEALED: [kind, base64.b64encode(content).decode("ascii")]}

    def unsealed(self, sealed: Any) -> Any:
        """What ``sealed`` was given. Raises EncryptionError."""
        if not isinstance(sealed, dict) or sealed.keys() != {_SEALED}:
            return sealed
        kind, text = sealed[_SEALED]
        _, content = self._splitter.serde.unseal(kind, base64.b64decode(text))
        return json.loads(content.decode("utf-8", "surrogatepass"))

    async def ahead(self, thread_id: str) -> tuple[str, Mapping[str, Any]] | None:
        """The thread's last checkpoint, without its state: id and metadata."""
        return await self._head(str(thread_id))

    async def akeep(
        self, thread_id: str, name: str, checkpoint_id: str, lists: Mapping[str, Sequence[Any]]
    ) -> None:
        """Keep a checkpoint's lists of messages under a name, also when the checkpoint is pruned.

        Costs a few bytes where the checkpoint holds them whole, else what is new in them.
        """
        await self._keep(Output(str(thread_id), name, checkpoint_id, lists))

    async def akept(self, thread_id: str, name: str, show: Show) -> dict[str, list[Any]]:
        """What was kept under the name, by channel.

        ``show`` makes plain JSON of a message, or of its fields; what it made is remembered.
        """
        return await self._kept(str(thread_id), name, show)

    async def arelease(self, thread_id: str, names: Sequence[str]) -> None:
        """Forget what was kept under these names."""
        await self._release(str(thread_id), names)

    async def adelete_thread(self, thread_id: str) -> None:
        await self._delete(str(thread_id))

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete the runs' checkpoints; what later checkpoints of the thread need is kept for them."""
        wanted = [str(run_id) for run_id in run_ids]
        for thread_id in await self._threads_of_runs(wanted) if wanted else ():
            await self._delete_runs(thread_id, wanted)

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy all of the thread; what the target held before is replaced."""
        source, target = str(source_thread_id), str(target_thread_id)
        if source != target:
            await self._copy(source, target)

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Drop all checkpoints (``delete``), or all that no thread needs to go on (``keep_latest``)."""
        if isinstance(thread_ids, str):
            raise TypeError("thread_ids must be a sequence of thread ids, not one text")
        if strategy not in ("keep_latest", "delete"):
            raise ValueError(f"unknown strategy: {strategy!r}")
        for thread_id in map(str, thread_ids):
            if strategy == "delete":
                await self.adelete_thread(thread_id)
            else:
                await self.aretain(thread_id, Retention(checkpoints=0))

    async def aretain(
        self, thread_id: str, retention: Retention | None = None, named: Sequence[str] = ()
    ) -> int:
        """Drop what the retention does not keep; how many checkpoints went. ``named`` ones stay."""
        return await self._retain(thread_id, retention or self._retention, named)

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        self._wait(self.adelete_for_runs(run_ids))

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        self._wait(self.acopy_thread(source_thread_id, target_thread_id))

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        self._wait(self.aprune(thread_ids, strategy=strategy))

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        """The sync face, for other threads than the loop's."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result()

    # How: each in a transaction of its own.

    @abstractmethod
    async def _head(self, thread_id: str) -> tuple[str, Mapping[str, Any]] | None: ...

    @abstractmethod
    async def _keep(self, output: Output) -> None: ...

    @abstractmethod
    async def _kept(self, thread_id: str, name: str, show: Show) -> dict[str, list[Any]]: ...

    @abstractmethod
    async def _release(self, thread_id: str, names: Sequence[str]) -> None: ...

    @abstractmethod
    async def _delete(self, thread_id: str) -> None: ...

    @abstractmethod
    async def _threads_of_runs(self, run_ids: Sequence[str]) -> list[str]: ...

    @abstractmethod
    async def _delete_runs(self, thread_id: str, run_ids: Sequence[str]) -> None: ...

    @abstractmethod
    async def _copy(self, source: str, target: str) -> None: ...

    @abstractmethod
    async def _retain(self, thread_id: str, rule: Retention, named: Sequence[str]) -> int: ...


def glancing(config: Any) -> Any:
    """The same configuration for who looks how a thread stands, and not at what its messages say."""
    return {**config, "configurable": {**config["configurable"], _GLANCE: True}}


def lent(config: RunnableConfig) -> Lend:
    """What who reads with this configuration may be given.

    A run that goes on gets the messages that the last one left, and so does who only looks; all
    others get copies, to do with as they like.
    """
    if get_checkpoint_id(config) is not None:
        return Lend.NO
    if _GLANCE in config["configurable"]:
        return Lend.GLANCE
    return Lend.CHECKED if _RUNTIME in config["configurable"] else Lend.NO
