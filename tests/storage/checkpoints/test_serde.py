"""What may stand in a row of a checkpoint, and what a hostile row can do: nothing."""

import dataclasses
import json
import pickle
import sqlite3
import sys
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import ormsgpack
import pytest
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.types import Interrupt, Send
from pydantic import BaseModel

from nearfar.errors import CheckpointDataError, CheckpointTypeError
from nearfar.storage.checkpoints import allow_types_of
from nearfar.storage.checkpoints.serde import StrictSerializer

from .conftest import Open
from .graphs import chat, question, thread

CANARY = "nearfar_canary"


@dataclasses.dataclass
class Point:
    x: int


class Colour(Enum):
    RED = "red"


class Model(BaseModel):
    name: str


OWN = [(__name__, name) for name in ("Point", "Colour", "Model")]
PLAIN = [
    None,
    b"bytes",
    "text",
    {"a": [1, 2.5, None, True]},
    datetime.now(UTC),
    date(2026, 1, 2),
    timedelta(3),
    UUID(int=5),
    Decimal("1.5"),
    {1, 2},
    Path("a/b"),
    HumanMessage("hi", id="1"),
    [AIMessage("x"), Document("y")],
    Send("node", {"a": 1}),
    Interrupt("value", id="i"),
]


@pytest.mark.parametrize("value", PLAIN, ids=lambda v: type(v).__name__)
def test_plain_values_read_as_they_were(value: Any) -> None:
    serde = StrictSerializer()
    assert serde.loads_typed(serde.dumps_typed(value)) == value


def test_arrays_of_numbers_read_as_they_were() -> None:
    serde = StrictSerializer()
    value = np.arange(6.0).reshape(2, 3)
    assert (serde.loads_typed(serde.dumps_typed(value)) == value).all()


@pytest.mark.parametrize("value", [Point(1), Colour.RED, Model(name="n")], ids=repr)
def test_own_classes_are_kept_when_they_are_named_and_refused_when_not(value: Any) -> None:
    named = StrictSerializer(OWN)
    row = named.dumps_typed({"deep": [value]})
    assert named.loads_typed(row) == {"deep": [value]}
    with pytest.raises(CheckpointTypeError) as refused:
        StrictSerializer().dumps_typed({"deep": [value]})
    assert refused.value.data == {"type": f"{__name__}:{type(value).__name__}"}
    with pytest.raises(CheckpointTypeError):
        StrictSerializer().loads_typed(row)


async def test_classes_that_a_graph_declares_are_let_through(sqlite: Open) -> None:
    from langgraph.graph import START, StateGraph

    from .graphs_typed import Typed

    graph = StateGraph(Typed)
    graph.add_node("step", lambda s: {"point": Point(s["point"].x + 1)})
    graph.add_edge(START, "step")
    compiled = graph.compile()
    async with sqlite() as saver:
        kept = compiled.copy({"checkpointer": allow_types_of(saver, compiled)})
        await kept.ainvoke({"point": Point(1)}, thread("t"))
        assert (await kept.aget_state(thread("t"))).values == {"point": Point(2)}


def packed(value: ormsgpack.Ext) -> bytes:
    return ormsgpack.packb(object(), default=lambda _: value)


def extension(code: int, *content: Any) -> bytes:
    inner = ormsgpack.packb(content, option=ormsgpack.OPT_NON_STR_KEYS)
    return ormsgpack.packb(object(), default=lambda _: ormsgpack.Ext(code, inner))


class Bomb:
    def __reduce__(self) -> Any:
        return __import__, (CANARY,)


def hostile_rows() -> list[tuple[str, bytes]]:
    """Forty ways to have a module imported or something called."""
    calls = [
        ("os", "system", "touch pwned"),
        ("builtins", "eval", "__import__('nearfar_canary')"),
        ("builtins", "exec", "import nearfar_canary"),
        ("builtins", "__import__", CANARY),
        ("subprocess", "run", ["touch", "pwned"]),
        (CANARY, "run", "x"),
        ("importlib", "import_module", CANARY),
        ("pathlib", "Path.home", ""),
    ]
    rows = []
    for module, name, argument in calls:
        rows += [
            ("msgpack", extension(code, module, name, content))
            for code, content in (
                (0, argument),
                (1, [argument]),
                (2, {"a": argument}),
                (5, {"a": argument}),
            )
        ]
    message = "langchain_core.messages.human", "HumanMessage"
    inner = ormsgpack.Ext(0, ormsgpack.packb((CANARY, "run", "x")))
    inside = ormsgpack.packb((*message, {"content": 0}, ""), default=None)
    nested = ormsgpack.packb(
        object(),
        default=lambda _: ormsgpack.Ext(
            5,
            inside.replace(
                ormsgpack.packb({"content": 0}),
                b"\x81" + ormsgpack.packb("content") + packed(inner),
            ),
        ),
    )
    rows += [
        ("msgpack", nested),
        ("msgpack", extension(3, CANARY, "Thing", "x", "run")),
        ("msgpack", extension(3, "datetime", "datetime", "x", "strptime")),
        ("msgpack", extension(4, CANARY, "Thing", {"a": 1}, "construct")),
        ("msgpack", extension(6, "O", [1], "C", b"12345678")),
        ("pickle", pickle.dumps(Bomb())),
        ("json", json.dumps({"lc": 2, "type": "constructor", "id": [CANARY, "run"]}).encode()),
        ("json", json.dumps({"lc": 1, "type": "constructor", "id": ["os", "system"]}).encode()),
    ]
    return rows


@pytest.fixture
def canary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module that leaves a mark when it is imported or called."""
    mark = tmp_path / "mark"
    code = f"open({str(mark)!r}, 'a').close()\ndef run(*a, **k): open({str(mark)!r}, 'a').close()\n"
    (tmp_path / f"{CANARY}.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return mark


def test_forty_hostile_rows_import_and_call_nothing(canary: Path) -> None:
    rows = hostile_rows()
    assert len(rows) == 40
    for row in rows:
        with pytest.raises(CheckpointDataError):
            StrictSerializer().loads_typed(row)
    assert CANARY not in sys.modules
    assert not canary.exists()
    assert not (canary.parent / "pwned").exists()


@pytest.mark.parametrize("table", ["checkpoints", "writes", "checkpoint_items"])
async def test_a_hostile_row_in_a_table_is_a_typed_error(
    sqlite: Open, tmp_path: Path, canary: Path, table: str
) -> None:
    column = "checkpoint" if table == "checkpoints" else "value"
    for kind, content in hostile_rows()[::5]:
        async with sqlite() as saver:
            graph = chat().compile(checkpointer=saver)
            for n in range(5):
                await graph.ainvoke(question(f"{n}"), thread("t"))
            latest = await saver.aget_tuple(thread("t"))
            await saver.aput_writes(latest.config, [("x", 1)], "task")
            with closing(sqlite3.connect(tmp_path / "nearfar.db")) as other, other:
                other.execute(f"UPDATE {table} SET type = ?, {column} = ?", (kind, content))  # noqa: S608 - names from this file
        with pytest.raises(CheckpointDataError):
            async with sqlite() as saver:
                await chat().compile(checkpointer=saver).aget_state(thread("t"))
        with closing(sqlite3.connect(tmp_path / "nearfar.db")) as other, other:
            for each in ("checkpoints", "writes", "checkpoint_items", "checkpoint_threads"):
                other.execute(f"DELETE FROM {each}")  # noqa: S608 - names from this file
    assert CANARY not in sys.modules
    assert not canary.exists()  # noqa: ASYNC240 - a stat


@pytest.mark.parametrize("content", [b"", b"\xc1", b"\x93\x01", b"\xff" * 50])
def test_bytes_that_are_no_msgpack_are_a_typed_error(content: bytes) -> None:
    serde = StrictSerializer()
    try:
        serde.loads_typed(("msgpack", content))
    except CheckpointDataError:
        return
    assert content == b"\xff" * 50  # a run of small numbers: msgpack reads the first only
