"""Makes corpus.zip: Python's own documentation of itself, as Markdown files.

    python tests/data/quality/make_corpus.py      (once, by CPython 3.11)

The topics of `help()` and the docstrings of the standard library: PSF licence, see LICENSE beside
this file. The questions are about this text, so it is kept and not made anew by other versions.
"""

import importlib
import inspect
import pydoc_data.topics
import re
import sys
import warnings
import zipfile
from pathlib import Path
from types import ModuleType

HERE = Path(__file__).parent
MODULES = [
    "argparse",
    "ast",
    "asyncio.locks",
    "asyncio.streams",
    "asyncio.tasks",
    "bisect",
    "calendar",
    "cmd",
    "codecs",
    "collections",
    "concurrent.futures",
    "configparser",
    "contextlib",
    "csv",
    "dataclasses",
    "datetime",
    "difflib",
    "doctest",
    "email.message",
    "fileinput",
    "fnmatch",
    "fractions",
    "functools",
    "gettext",
    "glob",
    "graphlib",
    "hashlib",
    "heapq",
    "http.client",
    "http.cookiejar",
    "http.server",
    "imaplib",
    "ipaddress",
    "itertools",
    "json",
    "linecache",
    "locale",
    "logging",
    "logging.handlers",
    "mailbox",
    "mimetypes",
    "multiprocessing.pool",
    "os",
    "pathlib",
    "pickle",
    "pickletools",
    "pprint",
    "queue",
    "random",
    "re",
    "sched",
    "secrets",
    "shelve",
    "shutil",
    "signal",
    "smtplib",
    "socketserver",
    "statistics",
    "string",
    "struct",
    "subprocess",
    "sys",
    "tarfile",
    "tempfile",
    "textwrap",
    "threading",
    "time",
    "timeit",
    "traceback",
    "unittest.case",
    "unittest.mock",
    "urllib.parse",
    "urllib.request",
    "uuid",
    "weakref",
    "zipfile",
    "zlib",
]


def topics() -> dict[str, str]:
    """Each topic that is not for the most part contained in another one."""
    texts = dict(pydoc_data.topics.topics)
    squeezed = {name: re.sub(r"\W+", " ", text) for name, text in texts.items()}
    chosen = {}
    for name, text in squeezed.items():
        probes = [text[at : at + 60] for at in range(80, max(81, len(text) - 60), 200)]
        copied = (
            max(
                sum(probe in other for probe in probes) / len(probes)
                for other_name, other in squeezed.items()
                if other_name != name and len(other) >= len(text)
            )
            if len(text) < max(map(len, squeezed.values()))
            else 0.0
        )
        if copied < 0.5:
            chosen[name] = texts[name]
    return chosen


def members(owner: object, module: ModuleType, depth: int = 0) -> list[tuple[int, str, str]]:
    """Level, signature and docstring of what is defined in ``owner``."""
    found = []
    names = getattr(module, "__all__", None) if owner is module else None
    for name, value in sorted(vars(owner).items()):
        if name.startswith("_") or (names is not None and name not in names):
            continue
        plain = value.__func__ if isinstance(value, classmethod | staticmethod) else value
        if (
            owner is module
            and getattr(plain, "__module__", None)
            not in {module.__name__, f"_{module.__name__}", None}
            and module.__name__ not in {"builtins", "sqlite3", "socket", "os", "io", "re"}
        ):
            continue
        doc = inspect.getdoc(plain) or ""
        if not (inspect.isclass(plain) or callable(plain) or isinstance(plain, property)):
            continue
        inner = members(plain, module, depth + 1) if inspect.isclass(plain) and depth == 0 else []
        if len(doc) < 60 and not inner:
            continue
        try:
            signature = name + str(inspect.signature(plain))  # type: ignore[arg-type]
        except (ValueError, TypeError):
            signature = name
        found += [(depth + 2, signature if len(signature) < 100 else name, doc), *inner]
    return found


def module_text(name: str) -> str:
    module = importlib.import_module(name)
    parts = [f"# {name}\n\n{inspect.getdoc(module) or ''}"]
    seen: set[str] = set()
    for level, title, doc in members(module, module):
        if doc not in seen:
            parts.append(f"{'#' * level} {title}\n\n{doc}")
            seen.add(doc)
    return re.sub(r"0x[0-9a-f]{6,}", "0x0", "\n\n".join(parts)).strip() + "\n"


def main() -> None:
    assert sys.version_info[:2] == (3, 11), "the questions are about 3.11's text"
    warnings.simplefilter("ignore")
    files = {f"language/{name}.txt": text for name, text in topics().items()}
    files |= {f"library/{name}.md": module_text(name) for name in MODULES}
    with zipfile.ZipFile(HERE / "corpus.zip", "w", zipfile.ZIP_LZMA) as corpus:
        for name, text in sorted(files.items()):
            info = zipfile.ZipInfo(name, (2024, 1, 1, 0, 0, 0))
            corpus.writestr(info, text, zipfile.ZIP_LZMA)
    total = sum(map(len, files.values()))
    sys.stdout.write(f"{len(files)} files, {total:,} characters\n")


if __name__ == "__main__":
    main()
