"""What may stand in a checkpoint: plain values, LangChain's messages, and classes that were named.

A row is data from outside: whoever can write the database must not be able to have code imported or
called. So no pickle, no JSON constructors, and msgpack extensions only for classes on a list; what
is not on it is an error in both directions, never a silent stand-in.
"""

import importlib
import threading
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

import ormsgpack
from langgraph.checkpoint.serde._msgpack import SAFE_MSGPACK_TYPES
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer, _msgpack_default, _option
from langgraph.checkpoint.serde.types import _DeltaSnapshot
from langgraph.types import Send

from nearfar.errors import CheckpointDataError, CheckpointTypeError, EncryptionError

Name = tuple[str, str]  # module, class

_UNPACK = ormsgpack.OPT_NON_STR_KEYS
_ONE, _POSITIONAL, _KEYWORDS, _METHOD, _PYDANTIC_1, _PYDANTIC_2, _ARRAY, _SNAPSHOT = range(8)
_NUMBERS = "biufcSUmM"  # the kinds of arrays that hold values, not objects


def class_name(spelled: str) -> Name:
    """``package.module:Class`` as module and class."""
    module, _, name = spelled.partition(":")
    return module, name


class StrictSerializer(JsonPlusSerializer):
    """LangGraph's msgpack format, for listed classes only.

    Raises CheckpointTypeError for any other class, and CheckpointDataError for bytes that cannot
    be read. ``types`` are (module, class) pairs besides the safe ones.
    """

    def __init__(self, types: Iterable[Name] = ()) -> None:
        extra = frozenset((module, name) for module, name in types)
        super().__init__(allowed_msgpack_modules=tuple(extra) or None)
        self._types = extra | SAFE_MSGPACK_TYPES
        self._classes: dict[Name, Callable[..., Any]] = {}
        self._local = threading.local()

    def with_msgpack_allowlist(self, extra_allowlist: Iterable[Any]) -> "StrictSerializer":
        """The same with more classes."""
        names = {(c.__module__, c.__name__) if isinstance(c, type) else c for c in extra_allowlist}
        return (
            self
            if names <= self._types
            else StrictSerializer([(n[0], n[1]) for n in self._types | names])
        )

    @property
    def plain(self) -> "StrictSerializer":
        """Itself: nothing is sealed here."""
        return self

    def with_types(self, names: Iterable[Any]) -> "StrictSerializer":
        """The same with more classes."""
        return self.with_msgpack_allowlist(names)

    def seal(self, kind: str, content: bytes) -> tuple[str, bytes]:
        """As it is: see ``SealedSerializer``."""
        return kind, content

    def unseal(self, kind: str, content: bytes) -> tuple[str, bytes]:
        """As it is; a sealed row is an error. Raises EncryptionError."""
        if "+" in kind:
            raise EncryptionError("A row is encrypted, and storage.encryption names no key.")
        return kind, content

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        if obj is None:
            return "null", b""
        if type(obj) in (bytes, bytearray):
            return type(obj).__name__, bytes(obj)
        return "msgpack", self.pack(obj)

    def pack(self, obj: Any) -> bytes:
        """As msgpack. Raises CheckpointTypeError."""
        try:
            return ormsgpack.packb(obj, default=self._extend, option=_option)
        except TypeError as error:  # ormsgpack keeps to itself what its hook raised
            raise self._told() or CheckpointTypeError(
                f"A value cannot be kept in a checkpoint: {error}."
            ) from error

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        kind, content = self.unseal(*data)
        if kind == "null":
            return None
        if kind in ("bytes", "bytearray"):
            return content if kind == "bytes" else bytearray(content)
        if kind != "msgpack":
            raise CheckpointDataError(
                "A row of a checkpoint has a format that is not read.", data={"format": kind[:40]}
            )
        return self.unpack(content)

    def unpack(self, content: bytes) -> Any:
        """The value of those bytes. Raises CheckpointTypeError or CheckpointDataError."""
        try:
            return ormsgpack.unpackb(content, ext_hook=self._revive, option=_UNPACK)
        except ValueError as error:
            raise self._told() or CheckpointDataError(
                "A row of a checkpoint is damaged: it is no msgpack."
            ) from error

    def _told(self) -> BaseException | None:
        """What a hook raised in this thread, once."""
        problem: BaseException | None = getattr(self._local, "problem", None)
        self._local.problem = None
        return problem

    def _extend(self, obj: Any) -> Any:
        if (
            type(obj) is Send and obj.timeout is None
        ):  # as LangGraph writes it, at a tenth of the cost
            return ormsgpack.Ext(
                _POSITIONAL, self.pack(("langgraph.types", "Send", (obj.node, obj.arg)))
            )
        if not isinstance(obj, BaseException | _DeltaSnapshot):
            kind = type(obj)
            listed = (kind.__module__, kind.__name__) in self._types
            if not (listed or (kind.__module__, kind.__name__) in _BY_VALUE):
                self._local.problem = _refused(kind.__module__, kind.__name__)
                raise self._local.problem
        return _msgpack_default(obj)

    def _revive(self, code: int, data: bytes) -> Any:
        try:
            return self._revived(code, data)
        except CheckpointTypeError as error:
            self._local.problem = self._local.__dict__.get("problem") or error
            raise
        except Exception as error:  # a worker boundary: constructors of listed classes ran
            self._local.problem = self._local.__dict__.get("problem") or CheckpointDataError(
                f"A value of a checkpoint cannot be made again: {type(error).__name__}."
            )
            raise

    def _revived(self, code: int, data: bytes) -> Any:
        content = ormsgpack.unpackb(data, ext_hook=self._revive, option=_UNPACK)
        if code == _SNAPSHOT:
            return _DeltaSnapshot(content)
        if code == _ARRAY:
            return _array(*content)
        if code == _METHOD:
            if tuple(content[:2]) != ("datetime", "datetime") or content[3] != "fromisoformat":
                raise _refused(content[0], f"{content[1]}.{content[3]}")
            return datetime.fromisoformat(content[2])
        return self._constructed(code, content)

    def _constructed(self, code: int, content: Any) -> Any:
        make = self._class(content[0], content[1])
        if code == _ONE:
            return make(content[2])
        if code == _POSITIONAL:
            return _positional(make, content)
        if code == _KEYWORDS:
            return make(**content[2])
        if code in (_PYDANTIC_1, _PYDANTIC_2):
            return _model(make, content[2])
        raise CheckpointDataError("A row of a checkpoint has an unknown kind of value.")

    def _class(self, module: str, name: str) -> Callable[..., Any]:
        key = (module, name)
        found = self._classes.get(key)
        if found is None:
            if key not in self._types:
                raise _refused(module, name)
            found = self._classes[key] = getattr(importlib.import_module(module), name)
        return found


_BY_VALUE = {("numpy", "ndarray"), ("re", "Pattern")}  # kept by their values, not by their class


def _refused(module: str, name: str) -> CheckpointTypeError:
    spelled = f"{module}:{name}"[:200]
    return CheckpointTypeError(
        f"The class {spelled} is not one that checkpoints may hold.",
        remedy="Name it under storage.types, or keep a plain value in the state.",
        data={"type": spelled},
    )


def _positional(make: Callable[..., Any], content: Any) -> Any:
    if content[:2] == ["langgraph.types", "Send"] and len(content[2]) == 3:
        node, argument, timeout = content[2]
        return make(node, argument, timeout=timeout)
    return make(*content[2])


def _model(make: Any, values: dict[str, Any]) -> Any:
    """A pydantic object; values that its own validators no longer take are kept as they are."""
    try:
        return make(**values)
    except ValueError:
        return (getattr(make, "model_construct", None) or make.construct)(**values)


def _array(dtype: str, shape: Any, order: Any, content: bytes) -> Any:
    import numpy as np

    kind = np.dtype(dtype)
    if kind.kind not in _NUMBERS:
        raise CheckpointDataError("A row of a checkpoint holds an array of objects.")
    return np.frombuffer(content, dtype=kind).reshape(shape, order=order)
