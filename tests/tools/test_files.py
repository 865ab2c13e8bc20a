"""`files_*` do their work inside the roots, and touch nothing outside, whatever the path."""

import hashlib
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool
from langchain_tests.integration_tests import ToolsIntegrationTests
from langchain_tests.unit_tests import ToolsUnitTests

from nearfar.errors import ApprovalRequiredError, ConfigurationError
from nearfar.settings import Settings
from nearfar.tools import _folder, files, tool, tools

HOSTILE: dict[str, list[str]] = json.loads(
    (Path(__file__).parent / "data" / "hostile_paths.json").read_text(encoding="utf-8")
)
SECRET = "canary-5d1f"
ALLOW = {"tool": "files_*", "permission": "allow"}


@dataclass(frozen=True)
class World:
    """A root with files in it, and things outside that must stay as they are and unseen."""

    root: Path
    outside: Path
    tools: dict[str, BaseTool]

    def call(self, name: str, **args: Any) -> ToolMessage:
        call = {"name": f"files_{name}", "args": args, "id": "1", "type": "tool_call"}
        message = self.tools[f"files_{name}"].invoke(call)
        assert isinstance(message, ToolMessage)
        return message

    def text(self, name: str, **args: Any) -> str:
        message = self.call(name, **args)
        assert message.status == "success", message.content
        return message.text

    def try_all(self, path: str) -> list[ToolMessage]:
        """What a hostile model would try with a path."""
        return [
            self.call("read", path=path),
            self.call("list", path=path, recursive=True),
            self.call("search", path=path, text="canary"),
            self.call("write", path=path, content="owned"),
            self.call("edit", path=path, old=SECRET, new="owned"),
        ]


@pytest.fixture(params=["openat", "verified"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    openat = request.param == "openat"
    if openat and not _folder.HAS_OPENAT:
        pytest.skip("this system has no openat")
    return make_world(tmp_path, openat=openat)


def make_world(tmp_path: Path, *, openat: bool = _folder.HAS_OPENAT) -> World:
    root, outside = tmp_path / "root", tmp_path / "outside"
    for folder in (
        root / "a" / "b",
        outside / "deep",
        tmp_path / "root-evil",
        tmp_path / "root.bak",
    ):
        folder.mkdir(parents=True)
    (root / "inside.txt").write_text("one\ntwo\nthree\n")
    (root / "a" / "b" / "note.md").write_text("# A note\nabout kilns\n")
    for place in (tmp_path, outside, outside / "deep"):
        (place / "outside.txt").write_text(SECRET)
    (tmp_path / "root-evil" / "secret.txt").write_text(SECRET)
    (tmp_path / "root.bak" / "secret.txt").write_text(SECRET)
    settings = Settings.model_validate(
        {"tools": {"permissions": [ALLOW], "files": {"roots": [str(root)]}}}
    )
    made = {one.name: one for one in tools(["files"], settings)}
    for one in made.values():
        box = one.body.__self__  # type: ignore[attr-defined]
        object.__setattr__(box, "openat", openat)
    return World(root, outside, made)


def fingerprint(world: World) -> dict[str, str]:
    """Everything outside of the root, with content, kind and number of names."""
    top = world.root.parent
    found = {}
    for path in sorted(top.rglob("*")):
        if path == world.root or path.is_relative_to(world.root):
            continue
        status = path.lstat()
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        found[str(path)] = f"{status.st_mode} {hashlib.sha256(content).hexdigest()}"
    return found


def filled(world: World, path: str) -> str:
    return (
        path.replace("{root}", world.root.as_posix())
        .replace("{outside}", world.outside.as_posix())
        .replace("{long300}", "x" * 300)
        .replace("{long2000}", "x" * 2000)
        .replace("{many}", "/".join("x" * 100))
        .replace("{wide}", "\N{SNOWMAN}" * 100)
    )


class TestOrdinaryWork:
    def test_list(self, world: World) -> None:
        listed = world.text("list", path=".")
        assert "\na/\ninside.txt (14 bytes, " in listed
        assert "a/b/note.md" in world.text("list", path=".", recursive=True)
        assert "note.md" in world.text("list", path="a/b")

    def test_read(self, world: World) -> None:
        assert "one\ntwo\nthree\n" in world.text("read", path="inside.txt")
        assert "one\ntwo\nthree\n" in world.text("read", path=str(world.root / "inside.txt"))
        part = world.text("read", path="./inside.txt", first_line=2, max_lines=1)
        assert "two\n\n[... 1 more lines]" in part
        assert "one" not in part

    def test_what_is_read_is_marked_as_data(self, world: World) -> None:
        text = world.text("read", path="inside.txt")
        assert text.startswith("<<<data ")
        assert "the file inside.txt" in text

    def test_search(self, world: World) -> None:
        assert "a/b/note.md:2: about kilns" in world.text("search", text="KILNS")
        assert "(nothing found)" in world.text("search", text="kilns", names="*.txt")
        assert "inside.txt:3: three" in world.text("search", text="three", path="inside.txt")

    def test_write_makes_folders_and_replaces(self, world: World) -> None:
        assert "Made new/deep/x.md: 1 lines." in world.text(
            "write", path="new/deep/x.md", content="hello\n"
        )
        message = world.call("write", path="new/deep/x.md", content="bye\n")
        assert "Replaced" in message.text
        assert "-hello\n+bye\n" in message.artifact["data"]["diff"]
        assert (world.root / "new" / "deep" / "x.md").read_text() == "bye\n"
        assert [path.name for path in (world.root / "new" / "deep").iterdir()] == ["x.md"]

    def test_edit(self, world: World) -> None:
        world.text("edit", path="inside.txt", old="two", new="2")
        assert (world.root / "inside.txt").read_text() == "one\n2\nthree\n"
        assert "not in the file" in world.call("edit", path="inside.txt", old="x", new="y").text
        assert "in the file 3 times" in world.call("edit", path="inside.txt", old="\n", new="").text
        world.text("edit", path="inside.txt", old="e", new="E", all=True)
        assert (world.root / "inside.txt").read_text() == "onE\n2\nthrEE\n"

    @pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
    def test_an_edit_keeps_encoding_and_line_ends(self, world: World, encoding: str) -> None:
        path = world.root / "dos.txt"
        path.write_bytes("caf\u00e9\r\nbar\r\nend\r\n".encode(encoding))
        world.text("edit", path="dos.txt", old="caf\u00e9\nbar", new="tea\nbaz")
        assert path.read_bytes().decode(encoding) == "tea\r\nbaz\r\nend\r\n"

    def test_a_file_that_is_no_text_is_neither_read_nor_replaced(self, world: World) -> None:
        (world.root / "x.bin").write_bytes(b"\x00\xff\x01")
        assert "not a text" in world.call("read", path="x.bin").text
        assert "not a text" in world.call("write", path="x.bin", content="x").text
        assert (world.root / "x.bin").read_bytes() == b"\x00\xff\x01"

    def test_ordinary_names_work(self, world: World) -> None:
        for name in (
            "\u00e4rger.txt",
            "\u65e5\u672c\u8a9e.md",
            ".env",
            "a b.txt",
            "x..y.txt",
            "console.txt",
        ):
            world.text("write", path=f"names/{name}", content="x")
            assert "x" in world.text("read", path=f"names/{name}")

    def test_several_roots_go_by_name(self, tmp_path: Path) -> None:
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "x.txt").write_text(f"in {name}")
        roots = [tmp_path / "one", tmp_path / "two"]
        read = tool("files_read", Settings(), roots=roots)
        assert "in two" in read.invoke({"path": "two/x.txt"})
        assert "must begin with one of: one, two" in read.invoke({"path": "x.txt"})

    def test_without_roots_there_is_no_tool(self) -> None:
        with pytest.raises(ConfigurationError, match="no folder"):
            tool("files_read", Settings())


class TestPermissions:
    def test_writes_ask_by_default_and_show_a_diff(self, tmp_path: Path) -> None:
        (tmp_path / "x.txt").write_text("old\n")
        write = tool("files_write", Settings(), roots=[tmp_path])
        with pytest.raises(ApprovalRequiredError) as caught:
            write.invoke({"path": "x.txt", "content": "new\n"})
        assert caught.value.data["description"] == (
            "--- a/x.txt\n+++ b/x.txt\n@@ -1 +1 @@\n-old\n+new\n"
        )
        edit = tool("files_edit", Settings(), roots=[tmp_path])
        with pytest.raises(ApprovalRequiredError) as caught:
            edit.invoke({"path": "x.txt", "old": "old", "new": "mid"})
        assert "-old\n+mid\n" in caught.value.data["description"]
        assert (tmp_path / "x.txt").read_text() == "old\n"

    @pytest.mark.parametrize(
        "path", ["secret/k.txt", "./secret//k.txt", "SECRET/k.txt", "secret/./k.txt"]
    )
    def test_a_rule_sees_through_spellings(self, tmp_path: Path, path: str) -> None:
        (tmp_path / "secret").mkdir()
        (tmp_path / "secret" / "k.txt").write_text(SECRET)
        rule = {"tool": "files_*", "arguments": {"path": "secret/*"}, "permission": "deny"}
        settings = Settings.model_validate(
            {"tools": {"permissions": [rule, ALLOW], "files": {"roots": [str(tmp_path)]}}}
        )
        for one in tools(["files_read", "files_search"], settings):
            extra = {"text": "canary"} if one.name == "files_search" else {}
            assert SECRET not in one.invoke({"path": path, **extra})
        search = tool("files_search", settings)
        assert SECRET not in search.invoke({"text": "canary"})


class TestHostilePaths:
    @pytest.mark.parametrize(
        ("kind", "path"), [(kind, path) for kind, paths in HOSTILE.items() for path in paths]
    )
    def test_nothing_outside_is_read_or_written(self, tmp_path: Path, kind: str, path: str) -> None:
        for openat in {True, False} & {_folder.HAS_OPENAT, False}:
            place = tmp_path / str(openat)
            place.mkdir()
            world = make_world(place, openat=openat)
            before = fingerprint(world)
            for message in world.try_all(filled(world, path)):
                assert message.status == "error", message.content
                assert SECRET not in message.text
                assert "root:" not in message.text
            assert fingerprint(world) == before
            assert "owned" not in "".join(
                file.read_text() for file in world.root.rglob("*") if file.is_file()
            )

    def test_the_corpus_is_large_enough(self) -> None:
        assert min(len(paths) for paths in HOSTILE.values()) >= 5
        traps = len(LINKS) + len(HARD_LINKS) + len(SPECIAL) + len(RACES)
        assert sum(map(len, HOSTILE.values())) + traps >= 120


def link(at: Path, to: Path | str, *, folder: bool = False) -> None:
    at.parent.mkdir(parents=True, exist_ok=True)
    at.symlink_to(to, target_is_directory=folder)


Trap = Callable[[World], str]


def to_file(world: World) -> str:
    link(world.root / "l", world.outside / "outside.txt")
    return "l"


def to_missing_leaf(world: World) -> str:
    link(world.root / "l", world.outside / "new.txt")
    return "l"


def relative_to_missing_leaf(world: World) -> str:
    link(world.root / "a" / "l", "../../outside/new.txt")
    return "a/l"


def missing_leaf_in_a_linked_folder(world: World) -> str:
    link(world.root / "l", world.outside, folder=True)
    return "l/new.txt"


def missing_leaf_of_a_chain(world: World) -> str:
    link(world.root / "l2", world.outside / "new.txt")
    link(world.root / "l", "l2")
    return "l"


def missing_folder_and_leaf(world: World) -> str:
    link(world.root / "l", world.outside / "no" / "new.txt")
    return "l"


def parent_is_a_link(world: World) -> str:
    link(world.root / "l", world.outside, folder=True)
    return "l/outside.txt"


def grandparent_is_a_link(world: World) -> str:
    link(world.root / "l", world.outside, folder=True)
    return "l/deep/outside.txt"


def parent_is_a_chain(world: World) -> str:
    link(world.root / "m", world.outside, folder=True)
    link(world.root / "l", "m", folder=True)
    return "l/outside.txt"


def parent_is_a_relative_link(world: World) -> str:
    link(world.root / "a" / "l", "../../outside", folder=True)
    return "a/l/outside.txt"


def parent_leads_to_the_top(world: World) -> str:
    link(world.root / "l", "/", folder=True)
    return "l" + (world.outside / "outside.txt").as_posix()


def parent_leads_out_and_in(world: World) -> str:
    link(world.root / "l", "..", folder=True)
    return "l/outside/outside.txt"


def the_folder_itself(world: World) -> str:
    link(world.root / "l", world.outside, folder=True)
    return "l"


def a_loop(world: World) -> str:
    link(world.root / "l", "l")
    return "l"


LINKS = [
    to_file, to_missing_leaf, relative_to_missing_leaf, missing_leaf_in_a_linked_folder,
    missing_leaf_of_a_chain, missing_folder_and_leaf, parent_is_a_link, grandparent_is_a_link,
    parent_is_a_chain, parent_is_a_relative_link, parent_leads_to_the_top, parent_leads_out_and_in,
    the_folder_itself, a_loop,
]  # fmt: skip


def hard(at: str, deep: bool = False) -> Trap:
    def make(world: World) -> str:
        path = world.root / at
        path.parent.mkdir(parents=True, exist_ok=True)
        os.link(world.outside / ("deep/outside.txt" if deep else "outside.txt"), path)
        return at

    return make


def hard_over_a_file(world: World) -> str:
    (world.root / "inside.txt").unlink()
    return hard("inside.txt")(world)


HARD_LINKS = [hard("h.txt"), hard("a/h.txt"), hard("a/b/c/h"), hard(".h"), hard("h.md", deep=True), hard_over_a_file]  # fmt: skip


def fifo(world: World) -> str:
    os.mkfifo(world.root / "pipe")
    return "pipe"


def socket_file(world: World) -> str:
    import socket

    at = Path.cwd()
    os.chdir(world.root)  # the name of a socket must be short
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("s")
    finally:
        os.chdir(at)
    return "s"


SPECIAL = [fifo, socket_file]


@pytest.mark.skipif(os.name == "nt", reason="links need a right that accounts may lack")
@pytest.mark.parametrize("trap", [*LINKS, *HARD_LINKS, *SPECIAL])
def test_links_and_devices_lead_nowhere(world: World, trap: Trap) -> None:
    path = trap(world)
    before = fingerprint(world)
    for message in world.try_all(path):
        if message.status != "error":  # listing and searching pass over what they must not follow
            assert message.name in ("files_list", "files_search")
        assert SECRET not in message.text
    for name in ("list", "search"):
        extra: dict[str, Any] = {"text": "canary"} if name == "search" else {"recursive": True}
        assert SECRET not in world.text(name, path=".", **extra)
        assert "outside.txt" not in world.text(name, path=".", **extra)
    assert fingerprint(world) == before


class Swap:
    """Exchanges something for a link to the outside and back, as fast as it can."""

    def __init__(self, inside: Path, link_to: Path) -> None:
        self.inside, self.link_to = inside, link_to
        self.aside = inside.with_name(f".{inside.name}.aside")
        self.trap = inside.with_name(f".{inside.name}.trap")
        self.trap.symlink_to(link_to, target_is_directory=link_to.is_dir())
        self.stop = threading.Event()
        self.rounds = 0
        self.thread = threading.Thread(target=self.run)

    def run(self) -> None:
        while not self.stop.is_set():
            self.move(self.inside, self.aside)
            self.move(self.trap, self.inside)
            self.move(self.inside, self.trap)
            self.move(self.aside, self.inside)
            self.rounds += 1

    @staticmethod
    def move(one: Path, other: Path) -> None:
        """In the gaps a write may make a folder of that name; it goes away again."""
        while True:
            try:
                one.rename(other)
            except OSError:
                shutil.rmtree(other, ignore_errors=True)
            else:
                return

    def __enter__(self) -> "Swap":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join()


def read_while_the_file_is_swapped(world: World) -> Iterator[str]:
    with Swap(world.root / "inside.txt", world.outside / "outside.txt"):
        for _ in range(150):
            yield world.call("read", path="inside.txt").text


def read_while_the_parent_is_swapped(world: World) -> Iterator[str]:
    (world.root / "a" / "outside.txt").write_text("fine")
    with Swap(world.root / "a", world.outside):
        for _ in range(150):
            yield world.call("read", path="a/outside.txt").text


def write_while_the_parent_is_swapped(world: World) -> Iterator[str]:
    with Swap(world.root / "a", world.outside):
        for _ in range(60):
            yield world.call("write", path="a/outside.txt", content="owned").text


def write_while_the_file_is_swapped(world: World) -> Iterator[str]:
    with Swap(world.root / "a" / "b" / "note.md", world.outside / "outside.txt"):
        for _ in range(60):
            yield world.call("write", path="a/b/note.md", content="owned").text


def search_while_a_folder_is_swapped(world: World) -> Iterator[str]:
    with Swap(world.root / "a" / "b", world.outside):
        for _ in range(100):
            yield world.call("search", path=".", text="canary").text


def edit_while_the_parent_is_swapped(world: World) -> Iterator[str]:
    (world.root / "a" / "outside.txt").write_text("canary here")
    with Swap(world.root / "a", world.outside):
        for _ in range(60):
            yield world.call("edit", path="a/outside.txt", old="canary", new="owned").text


RACES = [
    read_while_the_file_is_swapped, read_while_the_parent_is_swapped,
    write_while_the_parent_is_swapped, write_while_the_file_is_swapped,
    search_while_a_folder_is_swapped, edit_while_the_parent_is_swapped,
]  # fmt: skip


@pytest.mark.skipif(not _folder.HAS_OPENAT, reason="only openat closes every gap")
@pytest.mark.parametrize("race", RACES)
def test_a_swap_in_between_leads_nowhere(
    tmp_path: Path, race: Callable[[World], Iterator[str]]
) -> None:
    world = make_world(tmp_path)
    before = fingerprint(world)
    for said in race(world):
        assert SECRET not in said
    assert fingerprint(world) == before


@pytest.mark.skipif(os.name == "nt", reason="links need a right that accounts may lack")
def test_the_race_test_can_fail(tmp_path: Path) -> None:
    """A reader that follows links is caught by the swap within as many tries."""
    world = make_world(tmp_path)
    seen = False
    with Swap(world.root / "inside.txt", world.outside / "outside.txt") as swap:
        while not seen and swap.rounds < 20_000:
            try:
                seen = SECRET in (world.root / "inside.txt").read_text()
            except FileNotFoundError:
                continue
    assert seen


@pytest.mark.skipif(os.name == "nt", reason="permissions work otherwise there")
def test_a_write_keeps_the_permissions_of_the_file(world: World) -> None:
    path = world.root / "inside.txt"
    path.chmod(0o640)
    world.text("write", path="inside.txt", content="x")
    if box_uses_openat(world):
        assert path.stat().st_mode & 0o777 == 0o640


def box_uses_openat(world: World) -> bool:
    return bool(world.tools["files_read"].body.__self__.openat)  # type: ignore[attr-defined]


def test_limits_are_kept(tmp_path: Path) -> None:
    (tmp_path / "big.txt").write_text("x" * 2_000_000)
    settings = Settings.model_validate(
        {"tools": {"files": {"roots": [str(tmp_path)], "max_file_mb": 1}}}
    )
    assert "larger than 1,048,576 bytes" in tool("files_read", settings).invoke({"path": "big.txt"})
    for number in range(files._MAX_ITEMS + 5):
        (tmp_path / f"{number}.txt").touch()
    listed = tool("files_list", settings, max_output_chars=100_000)
    assert "[... more than 1,000]" in listed.invoke({})


EXAMPLES: dict[str, dict[str, Any]] = {
    "files_list": {"path": "."},
    "files_read": {"path": "x.txt"},
    "files_search": {"text": "one"},
    "files_write": {"path": "y.txt", "content": "two"},
    "files_edit": {"path": "x.txt", "old": "one", "new": "two", "all": True},
}


class _Standard:
    @pytest.fixture(autouse=True, params=list(EXAMPLES))
    def _which(self, request: pytest.FixtureRequest, tmp_path: Path) -> None:
        self.name, self.root = request.param, tmp_path
        (tmp_path / "x.txt").write_text("one\n" * 9)

    @property
    def tool_constructor(self) -> Any:
        return tool(self.name, Settings(), roots=[self.root], permissions=[ALLOW])

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return EXAMPLES[self.name]


class TestUnit(_Standard, ToolsUnitTests):
    """LangChain's own suite."""


class TestIntegration(_Standard, ToolsIntegrationTests):
    """LangChain's own suite."""
