"""Reading in a process of its own, so that no file can hang, crash or fill up the program.

PDF, Word and HTML parsers work through structures that the file itself describes. A file made to harm
(or only damaged) can keep them busy for hours, or use up all memory; a thread cannot be stopped, a
process can. One process serves many files and is started at the first that needs it (about 0.1 s);
plain text is read here, without it.
"""

import json
import os
import queue
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from nearfar import errors

from .document import DocumentText
from .formats import detect
from .read import ReadLimits, load, read_bytes

_MEMORY_LIMIT = 3 << 30  # bytes of address space; where the system has such a limit
_GRACE_S = 5.0  # for the start of the process, and for its own limits to act first
_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]);"
    " from nearfar.retrieval.readers.process import main; main()"
)
_APART = frozenset({"pdf", "docx", "html"})


class ReaderProcess:
    """Reads files under ``limits``; a file that breaks its reader is an error like any other.

    A context manager. Use it from one thread at a time.
    """

    def __init__(self, limits: ReadLimits | None = None) -> None:
        self.limits = limits or ReadLimits()
        self._process: subprocess.Popen[bytes] | None = None
        self._replies: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def __enter__(self) -> "ReaderProcess":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The process's number while there is one."""
        return self._process.pid if self._process is not None else None

    def read(self, path: str | Path, data: bytes | None = None) -> DocumentText:
        """As ``readers.read``, with the time limit enforced; ``data`` spares loading it again."""
        path = Path(path)
        if data is None:
            data = load(path, self.limits)
        if detect(path, data)[0] not in _APART if data.strip() else True:
            return read_bytes(path, data, self.limits)
        del data
        try:
            reply = self._ask(path)
        except BaseException:
            self.close(kill=True)
            raise
        if "error" in reply:
            raise _rebuild(reply["error"])
        return DocumentText.from_wire(reply["document"])

    def _ask(self, path: Path) -> dict[str, Any]:
        process = self._running()
        limits = self.limits
        request = {
            "path": str(path),
            "max_file_mb": limits.max_file_mb,
            "max_pages": limits.max_pages,
            "timeout_s": limits.timeout_s,
        }
        assert process.stdin is not None  # noqa: S101 - a pipe was asked for
        try:
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
        except OSError:
            return self._gone(path)
        try:
            line = self._replies.get(timeout=limits.timeout_s + _GRACE_S)
        except queue.Empty:
            self.close(kill=True)
            from .pdf import too_slow

            raise too_slow(path, limits.timeout_s) from None
        if not line:
            return self._gone(path)
        reply: dict[str, Any] = json.loads(line)
        return reply

    def _gone(self, path: Path) -> dict[str, Any]:
        """The process ended: the file was too much for it."""
        self.close(kill=True)
        raise errors.UnreadableDocumentError(
            f"{path} made its reader fail.", data={"path": str(path)}
        )

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self._replies = queue.SimpleQueue()
            self._process = _start()
            assert self._process.stdout is not None  # noqa: S101 - a pipe was asked for
            threading.Thread(
                target=_forward,
                args=(self._process.stdout, self._replies),
                name="nearfar-reader",
                daemon=True,
            ).start()
        return self._process

    def close(self, *, kill: bool = False) -> None:
        """End the process; the next ``read`` starts another."""
        process, self._process = self._process, None
        if process is None:
            return
        if kill:
            process.kill()
        if process.stdin is not None:
            try:
                process.stdin.close()
            except OSError:
                process.kill()  # a request that never went out
        try:
            process.wait(timeout=_GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _start() -> subprocess.Popen[bytes]:
    paths = json.dumps([os.path.abspath(path or ".") for path in sys.path])  # noqa: PTH100
    more: dict[str, Any] = {"process_group": 0}  # so that a terminal's Ctrl-C is ours alone
    if sys.platform == "win32":
        flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
        more = {"creationflags": flags}
    return subprocess.Popen(
        [sys.executable, "-P", "-c", _BOOT, paths],  # -P: no file here can stand in for a module
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        **more,
    )


def _forward(pipe: BinaryIO, replies: "queue.SimpleQueue[bytes]") -> None:
    with pipe:
        for line in pipe:
            replies.put(line)
    replies.put(b"")


def _rebuild(error: dict[str, Any]) -> errors.NearfarError:
    kind = getattr(errors, error["kind"], errors.UnreadableDocumentError)
    rebuilt: errors.NearfarError = kind(
        error["message"], remedy=error["remedy"], data=error["data"]
    )
    return rebuilt


def _serve(requests: BinaryIO, replies: BinaryIO) -> None:
    """The process side: one reply for each request, until the requests end."""
    for line in requests:
        request = json.loads(line)
        path = Path(request.pop("path"))
        limits = ReadLimits(**request)
        # A parent that is gone cannot stop this process, so it ends by itself.
        watchdog = threading.Timer(limits.timeout_s + 2 * _GRACE_S, os._exit, (3,))
        watchdog.daemon = True
        watchdog.start()
        reply = json.dumps(_reply(path, limits)).encode()
        watchdog.cancel()
        replies.write(reply + b"\n")
        replies.flush()


def _reply(path: Path, limits: ReadLimits) -> dict[str, Any]:
    try:
        return {"document": read_bytes(path, load(path, limits), limits).to_wire()}
    except errors.NearfarError as error:
        failed = error
    except MemoryError:
        failed = errors.UnreadableDocumentError(
            f"{path} needs too much memory to be read.", data={"path": str(path)}
        )
    except Exception as error:  # noqa: BLE001 - the boundary of the process: one file, one reply
        failed = errors.UnreadableDocumentError(
            f"{path} could not be read: {type(error).__name__}.", data={"path": str(path)}
        )
    return {"error": failed.to_dict() | {"kind": type(failed).__name__}}


def _limit_memory() -> None:
    if sys.platform == "win32":
        return
    import resource

    try:
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        limit = _MEMORY_LIMIT if hard == resource.RLIM_INFINITY else min(_MEMORY_LIMIT, hard)
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    except (OSError, ValueError):
        return  # a system without this limit


def main() -> None:
    """Serve the parent on standard input and output."""
    _limit_memory()
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a parser prints must not get between the replies
    _serve(sys.stdin.buffer, replies)
