"""Get the object that ``FILE.py:ATTRIBUTE`` or ``package.module:ATTRIBUTE`` names.

As with ``python FILE.py`` and ``python -m package.module``, the file's folder (or the working
directory) goes to the front of the import path, so that what stands beside a graph can be imported.
"""

import difflib
import hashlib
import importlib
import importlib.util
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from types import ModuleType
from typing import Any

from nearfar.errors import WorkflowError, WorkflowNotFoundError

DEFAULT_ATTRIBUTE = "graph"
_STAMP = "__nearfar_stamp__"  # a file that was edited since is loaded anew

_loading: dict[str, RLock] = {}  # by module: one thread at a time executes it


@dataclass(frozen=True)
class Place:
    """A file or a module, and the attribute in it."""

    target: str
    attribute: str
    is_file: bool

    def __str__(self) -> str:
        return f"{self.target}:{self.attribute}"


def parse_place(reference: str) -> Place | None:
    r"""Take a reference apart; None when it is a plain name.

    A drive's colon (``C:\flows\mine.py``) is not taken for the one before the attribute.
    """
    head, colon, tail = reference.rpartition(":")
    named = bool(colon and head) and all(part.isidentifier() for part in tail.split("."))
    target, attribute = (head, tail) if named else (reference, DEFAULT_ATTRIBUTE)
    is_file = target.endswith(".py") or "/" in target or "\\" in target
    if is_file:
        return Place(target, attribute, is_file=True)
    is_module = all(part.isidentifier() for part in target.split("."))
    if is_module and (named or "." in target):
        return Place(target, attribute, is_file=False)
    return None


def load(place: Place) -> Any:
    """The object at ``place``.

    Raises WorkflowNotFoundError when file, module or attribute is not there, and WorkflowError
    when the code in it does not run (message: reason and line).
    """
    module = _load_file(place) if place.is_file else _load_module(place)
    found: Any = module
    for part in place.attribute.split("."):
        if not hasattr(found, part):
            raise _no_attribute(place, module)
        found = getattr(found, part)
    return found


def _load_file(place: Place) -> ModuleType:
    path = Path(place.target).expanduser().resolve()
    if not path.is_file():
        raise _no_file(place, path)
    name = _module_name(path)
    with _loading.setdefault(name, RLock()):  # another thread must not see half of it
        return _executed(place, path, name)


def _executed(place: Place, path: Path, name: str) -> ModuleType:
    stamp = (path.stat().st_mtime_ns, path.stat().st_size)
    if name in sys.modules and vars(sys.modules[name]).get(_STAMP) == stamp:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise WorkflowError(
            f"{path} cannot be loaded: it is not a Python file.",
            remedy="Name a file that ends in .py.",
            data={"name": str(place)},
        )
    module = importlib.util.module_from_spec(spec)
    vars(module)[_STAMP] = stamp
    _put_on_path(path.parent)
    sys.modules[name] = module  # before it runs: classes in a state are looked up by module name
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, Exception | SystemExit):
            raise _broken(place, error) from error
        raise
    return module


def _module_name(path: Path) -> str:
    """The same in every process: checkpoints name the classes in a state by it."""
    digest = hashlib.sha256(str(path).encode()).hexdigest()[:8]
    return f"nearfar_workflow_{path.stem}_{digest}"


def _load_module(place: Place) -> ModuleType:
    _put_on_path(Path.cwd())
    try:
        return importlib.import_module(place.target)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if place.target == missing or place.target.startswith(f"{missing}."):
            raise WorkflowNotFoundError(
                f"There is no module {missing!r} (wanted for {place}).",
                remedy="Check the name; run from the folder that holds the package, or install it.",
                data={"name": str(place), "known": []},
            ) from error
        raise _broken(place, error) from error
    except (Exception, SystemExit) as error:  # a plugin boundary: any code may stand in the module
        raise _broken(place, error) from error


def _put_on_path(folder: Path) -> None:
    entry = str(folder)
    if entry not in sys.path:
        sys.path.insert(0, entry)


def _broken(place: Place, error: BaseException) -> WorkflowError:
    """Where the user's code failed: the deepest line in the named file, else the last line."""
    if isinstance(error, SyntaxError) and error.filename:
        where, line = error.filename, error.lineno or 0
        reason = f"{type(error).__name__}: {error.msg}"
    else:
        frames = [f for f in traceback.extract_tb(error.__traceback__) if _is_users(f.filename)]
        own = [f for f in frames if Path(f.filename).stem == Path(place.target).stem]
        frames = own or frames
        where, line = (frames[-1].filename, frames[-1].lineno or 0) if frames else (place.target, 0)
        reason = f"{type(error).__name__}: {error}"
    return WorkflowError(
        f"{place} cannot be loaded: {where}, line {line}: {reason}",
        remedy="Mend the named line; running the file with python shows the whole traceback.",
        data={"name": str(place), "file": where, "line": line},
    )


def _is_users(filename: str) -> bool:
    return not filename.startswith("<") and Path(filename) != Path(__file__)


def _no_file(place: Place, path: Path) -> WorkflowNotFoundError:
    beside = sorted(p.name for p in path.parent.glob("*.py")) if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, beside, n=3)
    return WorkflowNotFoundError(
        f"There is no file {path}.",
        remedy=f"Did you mean {' or '.join(near)}?" if near else "Check the path.",
        data={"name": str(place), "known": near},
    )


def _no_attribute(place: Place, module: ModuleType) -> WorkflowNotFoundError:
    known = sorted(name for name, value in vars(module).items() if _looks_like_graph(name, value))
    near = difflib.get_close_matches(place.attribute, known, n=3) or known[:3]
    hint = f"Did you mean {' or '.join(f'{place.target}:{name}' for name in near)}?"
    return WorkflowNotFoundError(
        f"{place.target} has no attribute {place.attribute!r}.",
        remedy=hint if near else f"Name the graph in it: {place.target}:ATTRIBUTE.",
        data={"name": str(place), "known": known},
    )


def _looks_like_graph(name: str, value: Any) -> bool:
    from langgraph.graph import StateGraph
    from langgraph.pregel import Pregel

    return not name.startswith("_") and isinstance(value, StateGraph | Pregel)
