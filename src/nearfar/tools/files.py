"""`files_list`, `files_read`, `files_search`, `files_write`, `files_edit`: files below the roots."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path

from pydantic import Field

from nearfar.errors import ConfigurationError, ToolFailedError, ToolLimitError, ToolRefusedError
from nearfar.settings import Settings
from nearfar.storage.effects import NOT_DONE, Done, NotDone

from ._folder import HAS_OPENAT, Folder, Item
from ._paths import Place, Root, place, roots_of
from ._texts import Text, decoded, diff_of, matches
from .base import Arguments, GuardedTool, Outside, Result, guarded
from .limits import check_time
from .policy import Policy

_MAX_ITEMS = 1000
_MAX_MATCHES = 200
_MAX_FILES_SEARCHED = 20_000
_MAX_DEPTH = 32


class ListArguments(Arguments):
    """What `files_list` takes."""

    path: str = Field(default=".", description="The folder, relative; '.' is the top.")
    recursive: bool = Field(default=False, description="Also what is in the folders below.")


class ReadArguments(Arguments):
    """What `files_read` takes."""

    path: str = Field(description="The file, relative to the top folder.")
    first_line: int = Field(default=1, ge=1, description="The line to begin with.")
    max_lines: int = Field(default=2000, ge=1, le=100_000, description="Lines to read at most.")


class SearchArguments(Arguments):
    """What `files_search` takes."""

    text: str = Field(min_length=1, max_length=1000, description="The text to look for, as it is.")
    path: str = Field(default=".", description="The file or folder to look in.")
    names: str = Field(default="*", description="Which files, by name: '*.md'.", max_length=200)


class WriteArguments(Arguments):
    """What `files_write` takes."""

    path: str = Field(description="The file, relative to the top folder. Folders are made.")
    content: str = Field(description="The whole new content.")


class EditArguments(Arguments):
    """What `files_edit` takes."""

    path: str = Field(description="The file, relative to the top folder.")
    old: str = Field(min_length=1, description="The text to replace, exactly as it stands there.")
    new: str = Field(description="What to put in its place.")
    all: bool = Field(default=False, description="Replace every occurrence, not the only one.")


def files_list(settings: Settings, *, roots: Sequence[str | Path] | None = None) -> GuardedTool:
    """Names, kinds and sizes."""
    box = _Box.made(settings, roots)
    return guarded(
        settings,
        name="files_list",
        description=f"Lists a folder: names, sizes, dates. {box.hint}",
        args=ListArguments,
        body=box.list,
        default="allow",
        effects=False,
        facts=box.facts,
    )


def files_read(settings: Settings, *, roots: Sequence[str | Path] | None = None) -> GuardedTool:
    """The text of a file."""
    box = _Box.made(settings, roots)
    return guarded(
        settings,
        name="files_read",
        description=f"Reads a text file, or some of its lines. {box.hint}",
        args=ReadArguments,
        body=box.read,
        default="allow",
        effects=False,
        facts=box.facts,
    )


def files_search(settings: Settings, *, roots: Sequence[str | Path] | None = None) -> GuardedTool:
    """Lines that hold a text."""
    box = _Box.made(settings, roots)
    return guarded(
        settings,
        name="files_search",
        description=f"Finds lines that hold a text, whatever its case. {box.hint}",
        args=SearchArguments,
        body=box.search,
        default="allow",
        effects=False,
        facts=box.facts,
    )


def files_write(settings: Settings, *, roots: Sequence[str | Path] | None = None) -> GuardedTool:
    """Make or replace a file."""
    box = _Box.made(settings, roots)
    return guarded(
        settings,
        name="files_write",
        description=f"Writes a text file: makes it, or replaces all of it. {box.hint}",
        args=WriteArguments,
        body=box.write,
        facts=box.facts,
        preview=box.preview_write,
        outside=Outside(find_out=box.was_written),
    )


def files_edit(settings: Settings, *, roots: Sequence[str | Path] | None = None) -> GuardedTool:
    """Replace a text in a file."""
    box = _Box.made(settings, roots)
    return guarded(
        settings,
        name="files_edit",
        description=f"Replaces a text in a file by another. {box.hint}",
        args=EditArguments,
        body=box.edit,
        facts=box.facts,
        preview=box.preview_edit,
        outside=Outside(find_out=box.was_edited),
    )


@dataclass(frozen=True)
class _Box:
    """The roots, and what can be done in them. ``openat`` False is for systems without it."""

    roots: tuple[Root, ...]
    max_bytes: int
    reading: Policy
    openat: bool = HAS_OPENAT

    @classmethod
    def made(cls, settings: Settings, roots: Sequence[str | Path] | None) -> "_Box":
        own = settings.tools.files
        found = roots_of(own.roots if roots is None else roots)
        if not found:
            raise ConfigurationError(
                "The tools files_* have no folder to work in.",
                remedy="Name one under tools.files.roots.",
            )
        reading = Policy(tuple(settings.tools.permissions), default="allow")
        return cls(tuple(found), int(own.max_file_mb * 1024**2), reading)

    @property
    def hint(self) -> str:
        if len(self.roots) == 1:
            return "Paths are relative to one folder and cannot leave it."
        names = ", ".join(root.name for root in self.roots)
        return f"Paths begin with the name of a folder: {names}."

    def facts(self, *, path: str, **_arguments: object) -> dict[str, str]:
        """Rules see the path as it is understood: no `a/../b`, no `./b`."""
        return {"path": place(path, self.roots).shown}

    # What the tools do.

    def list(self, path: str, recursive: bool) -> Result:
        where = place(path, self.roots)
        lines: list[str] = []
        with self._folder(where.root, where.parts) as folder:
            for prefix, item, _ in self._walk(folder, deep=recursive):
                if len(lines) >= _MAX_ITEMS:
                    lines.append(f"[... more than {_MAX_ITEMS:,}]")
                    break
                lines.append(_line_of(prefix, item))
        text = "\n".join(lines) or "(empty)"
        return Result(text, source=f"names in the folder {where.shown}")

    def read(self, path: str, first_line: int, max_lines: int) -> Result:
        where = place(path, self.roots)
        lines = self._load(where).text.splitlines(keepends=True)
        if first_line > max(1, len(lines)):
            raise ToolFailedError(f"The file has only {len(lines):,} lines.")
        shown = lines[first_line - 1 : first_line - 1 + max_lines]
        left = len(lines) - (first_line - 1) - len(shown)
        text = "".join(shown) + (f"\n[... {left:,} more lines]" if left else "")
        return Result(text, source=f"the file {where.shown}", data={"lines": len(lines)})

    def search(self, text: str, path: str, names: str) -> Result:
        where = place(path, self.roots)
        wanted = text.casefold()
        found: list[str] = []
        for searched, (shown, content) in enumerate(self._texts(where, names), start=1):
            found += matches(shown, content, wanted, _MAX_MATCHES - len(found))
            if len(found) >= _MAX_MATCHES:
                found.append(f"[... at least {_MAX_MATCHES}; look for something longer]")
                break
            if searched >= _MAX_FILES_SEARCHED:
                found.append(f"[... stopped after {_MAX_FILES_SEARCHED:,} files]")
                break
        return Result("\n".join(found) or "(nothing found)", source=f"files in {where.shown}")

    def write(self, path: str, content: str) -> Result:
        where = place(path, self.roots)
        old = self._old(where)
        diff = diff_of(where.shown, old or "", content)
        with self._folder(where.root, where.parts[:-1], make=True) as folder:
            folder.write(where.parts[-1], self._encode(Text(content)))
        done = "Made" if old is None else "Replaced"
        return Result(
            f"{done} {where.shown}: {len(content.splitlines()):,} lines.", data={"diff": diff}
        )

    def edit(self, path: str, old: str, new: str, all: bool) -> Result:  # noqa: A002  # the argument's name
        where, before, after, count = self._edited(path, old, new, every=all)
        with self._folder(where.root, where.parts[:-1]) as folder:
            folder.write(where.parts[-1], self._encode(after))
        times = "once" if count == 1 else f"{count:,} times"
        diff = diff_of(where.shown, before.text, after.text)
        return Result(f"Replaced the text {times} in {where.shown}.", data={"diff": diff})

    # Whether it was done before the program ended; a file is replaced whole or not at all.

    def was_written(self, path: str, content: str) -> Done | NotDone:
        where = place(path, self.roots)
        if self._old(where) != content:
            return NOT_DONE
        return Done(f"Wrote {where.shown}: {len(content.splitlines()):,} lines.")

    def was_edited(self, path: str, old: str, new: str, all: bool) -> Done | NotDone | None:  # noqa: A002, ARG002  # the argument's name
        where = place(path, self.roots)
        text = (self._old(where) or "").replace("\r\n", "\n")
        old, new = old.replace("\r\n", "\n"), new.replace("\r\n", "\n")
        if old in new:  # then it stands there before and after
            return None
        if old in text:
            return NOT_DONE
        return Done(f"Replaced the text in {where.shown}.") if new in text else None

    # What a person sees before approving.

    def preview_write(self, path: str, content: str) -> str:
        where = place(path, self.roots)
        return diff_of(where.shown, self._old(where) or "", content) or f"{where.shown}: no change"

    def preview_edit(self, path: str, old: str, new: str, all: bool) -> str:  # noqa: A002  # the argument's name
        where, before, after, _ = self._edited(path, old, new, every=all)
        return diff_of(where.shown, before.text, after.text) or f"{where.shown}: no change"

    # How.

    def _folder(
        self, root: Root, parts: Sequence[str], *, make: bool = False
    ) -> contextlib.AbstractContextManager[Folder]:
        return Folder.at(root.folder, parts, make=make, openat=self.openat)

    def _refuse_top(self, where: Place) -> None:
        if not where.parts:
            raise ToolRefusedError("The path names the top folder, not a file.")

    def _load(self, where: Place) -> Text:
        self._refuse_top(where)
        with self._folder(where.root, where.parts[:-1]) as folder:
            return decoded(folder.read(where.parts[-1], self.max_bytes))

    def _old(self, where: Place) -> str | None:
        """What a write replaces; None when nothing is there. A file that is no text stays as it is."""
        try:
            return self._load(where).text
        except ToolFailedError as error:
            if error.data.get("missing"):
                return None
            raise

    def _encode(self, text: Text) -> bytes:
        try:
            content = text.text.encode(text.encoding)
        except UnicodeEncodeError:
            raise ToolFailedError("The text holds characters that cannot be written.") from None
        if len(content) > self.max_bytes:
            raise ToolLimitError(
                f"The file would be larger than {self.max_bytes:,} bytes.",
                data={"limit": self.max_bytes},
            )
        return content

    def _edited(
        self, path: str, old: str, new: str, *, every: bool
    ) -> tuple[Place, Text, Text, int]:
        where = place(path, self.roots)
        before = self._load(where)
        if old not in before.text and "\r\n" in before.text:  # models write plain line ends
            old, new = (part.replace("\r\n", "\n").replace("\n", "\r\n") for part in (old, new))
        count = before.text.count(old)
        if count == 0:
            raise ToolFailedError("The text to replace is not in the file.")
        if count > 1 and not every:
            raise ToolFailedError(
                f"The text to replace is in the file {count:,} times.",
                remedy="Give more of what stands around it, or set `all`.",
            )
        return where, before, Text(before.text.replace(old, new), before.encoding), count

    def _walk(
        self, folder: Folder, *, deep: bool, prefix: str = "", depth: int = 0
    ) -> Iterator[tuple[str, Item, Folder]]:
        """Items below ``folder`` with the path that leads to them; links are not followed."""
        for item in folder.items():
            check_time("files")
            yield prefix, item, folder
            if not deep or item.kind != "folder" or depth >= _MAX_DEPTH:
                continue
            try:
                inner = folder.enter(item.name)
            except (ToolFailedError, ToolRefusedError):  # gone, exchanged, or not ours to read
                continue
            try:
                yield from self._walk(
                    inner, deep=True, prefix=f"{prefix}{item.name}/", depth=depth + 1
                )
            finally:
                inner.close()

    def _texts(self, where: Place, names: str) -> Iterator[tuple[str, str]]:
        """The readable files at or below the place."""
        top = "" if where.shown == "." else f"{where.shown}/"
        with contextlib.ExitStack() as stack:
            folder = None
            with contextlib.suppress(ToolFailedError):  # a file, then
                folder = stack.enter_context(self._folder(where.root, where.parts))
            if folder is None:
                if self._may_read(where.shown):
                    yield where.shown, self._load(where).text
                return
            for prefix, item, holder in self._walk(folder, deep=True):
                shown = f"{top}{prefix}{item.name}"
                named = fnmatchcase(item.name.casefold(), names.casefold())
                if item.kind != "file" or not named or not self._may_read(shown):
                    continue
                with contextlib.suppress(ToolFailedError, ToolRefusedError, ToolLimitError):
                    yield shown, decoded(holder.read(item.name, self.max_bytes)).text

    def _may_read(self, shown: str) -> bool:
        """A search shows nothing that the rules keep from `files_read`."""
        return self.reading.decide("files_read", {"path": shown}).permission == "allow"


def _line_of(prefix: str, item: Item) -> str:
    if item.kind == "folder":
        return f"{prefix}{item.name}/"
    if item.kind != "file":
        return f"{prefix}{item.name} ({item.kind}, not followed)"
    day = datetime.fromtimestamp(item.changed, UTC).date().isoformat()
    return f"{prefix}{item.name} ({item.size:,} bytes, {day})"
