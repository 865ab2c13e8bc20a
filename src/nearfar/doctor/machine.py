"""The machine, Python, the installed packages, the home folder."""

import platform
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from pathlib import Path

from nearfar import storage
from nearfar.settings import Settings, home
from nearfar.storage.postgres import connect_postgres, postgres_url

from .report import Check

_MIB = 2**20
_LEAST_DISK_MB = 500
_LEAST_MEMORY_MB = 500

# Each family installs one import package; two of a family overwrite each other's files.
RUNTIMES = ("onnxruntime", "onnxruntime-directml", "onnxruntime-gpu", "onnxruntime-qnn")
ENGINES = (
    "onnxruntime-genai",
    "onnxruntime-genai-directml",
    "onnxruntime-genai-cuda",
    "onnxruntime-genai-winml",
)


def installed_versions() -> dict[str, str]:
    """Version by package name, of the packages that run models."""
    found = {}
    for name in (*RUNTIMES, *ENGINES, "tokenizers", "llguidance"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def required_by(package: str) -> list[str]:
    """What ``package`` asks for, as requirement lines."""
    try:
        return metadata.requires(package) or []
    except metadata.PackageNotFoundError:
        return []


def check_platform() -> Iterator[Check]:
    import psutil

    cores = psutil.cpu_count(logical=False) or psutil.cpu_count()
    memory = psutil.virtual_memory().total / 2**30
    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    yield Check("platform", True, f"{system}, {cores} cores, {memory:.1f} GiB memory")


def check_python(
    version: tuple[int, int] = sys.version_info[:2], maxsize: int = sys.maxsize
) -> Iterator[Check]:
    bits = 64 if maxsize > 2**32 else 32
    detail = f"{platform.python_implementation()} {version[0]}.{version[1]}, {bits} bit"
    ok = (3, 11) <= version < (3, 14) and bits == 64
    yield Check("python", ok, detail, "" if ok else "Use a 64-bit Python 3.11, 3.12 or 3.13.")


def check_wheels(
    versions: Mapping[str, str] | None = None,
    requires: Callable[[str], list[str]] = required_by,
) -> Iterator[Check]:
    """That there is one runtime and one engine, and that they belong together."""
    versions = installed_versions() if versions is None else versions
    detail = ", ".join(f"{name} {version}" for name, version in versions.items())
    problem = _flavours(versions) or _skew(versions, requires)
    if problem:
        yield Check("wheels", False, f"{detail or 'none installed'}: {problem[0]}", problem[1])
    else:
        yield Check("wheels", True, detail)


def _flavours(versions: Mapping[str, str]) -> tuple[str, str] | None:
    for family in (RUNTIMES, ENGINES):
        here = [name for name in family if name in versions]
        if not here:
            return f"{family[0]} is missing", f"Install it: pip install {family[0]}."
        if len(here) > 1:
            names = " and ".join(here)
            return (
                f"{names} overwrite each other's files",
                f"Run pip uninstall -y {' '.join(here)}, then install the one for your hardware.",
            )
    return None


def _skew(
    versions: Mapping[str, str], requires: Callable[[str], list[str]]
) -> tuple[str, str] | None:
    from packaging.requirements import Requirement

    engine = next(name for name in ENGINES if name in versions)
    for line in requires(engine):
        need = Requirement(line)
        have = versions.get(need.name)
        if have is None or not need.name.startswith("onnxruntime"):
            continue
        if not need.specifier.contains(have, prereleases=True):
            return (
                f"{engine} {versions[engine]} needs {need.name}{need.specifier}",
                f"Install the two together: pip install --upgrade {engine} '{need}'.",
            )
    return None


def check_home() -> Iterator[Check]:
    """That files can be written under the home folder, and that a database works there."""
    folder = home()
    trial = folder / f".doctor-{secrets.token_hex(4)}.db"
    try:
        connection = storage.connect(trial)
        connection.execute("CREATE TABLE trial (value INTEGER)")
        connection.close()
    finally:
        for suffix in ("", "-wal", "-shm"):
            trial.with_name(trial.name + suffix).unlink(missing_ok=True)
    yield Check("home", True, f"{folder} can be written")


def check_database(settings: Settings) -> Iterator[Check]:
    """That SQLite finds no damage in the database, if there is one already; that a Postgres answers."""
    url = postgres_url(settings)
    if url is not None:
        connect_postgres(url).close()
        yield Check("postgres", True, "the server of storage.url answers")
    path = storage.database_path(settings)
    if not path.exists():
        yield Check("database", True, f"{path} is made when it is first needed")
        return
    connection = storage.connect(path, read_only=True)
    try:
        answer = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    finally:
        connection.close()
    if answer == "ok":
        yield Check("database", True, f"{path}, {path.stat().st_size / _MIB:.1f} MiB")
    else:
        yield Check("database", False, f"{path}: {answer}", "Restore it from a backup.")


def check_disk(
    free: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
) -> Iterator[Check]:
    folder = home()
    free_mb = free(folder) / _MIB
    ok = free_mb >= _LEAST_DISK_MB
    remedy = "Free some space, or move NEARFAR_HOME to a larger disk."
    yield Check("disk", ok, f"{free_mb / 1024:.1f} GiB free for {folder}", "" if ok else remedy)


def check_memory(available: Callable[[], int] | None = None) -> Iterator[Check]:
    if available is None:
        import psutil

        available_mb = psutil.virtual_memory().available / _MIB
    else:
        available_mb = available() / _MIB
    ok = available_mb >= _LEAST_MEMORY_MB
    remedy = "Close other programs, or use a smaller model."
    yield Check("memory", ok, f"{available_mb / 1024:.1f} GiB available", "" if ok else remedy)
