"""What a wheel and a source archive hold, and that the lock file fits pyproject.toml."""

import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ASSETS = ROOT / "src" / "nearfar" / "llm" / "assets"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
BUILD = """
import sys
from setuptools import build_meta
out = sys.argv[1]  # the backend rewrites sys.argv
build_meta.build_sdist(out)
build_meta.build_wheel(out)
"""


def tracked_assets() -> set[str]:
    return {
        path.relative_to(ROOT / "src").as_posix() for path in ASSETS.rglob("*") if path.is_file()
    }


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> tuple[set[str], set[str]]:
    """The names in the wheel and in the sdist (there without the leading folder)."""
    checkout = tmp_path_factory.mktemp("checkout") / "nearfar"
    skipped = shutil.ignore_patterns("__pycache__", "*.egg-info", "build", "dist")
    checkout.mkdir()
    shutil.copytree(ROOT / "src", checkout / "src", ignore=skipped)
    shutil.copytree(ROOT / "tests", checkout / "tests", ignore=skipped)
    for name in ("pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, checkout / name)
    for link in ("agents", "graphs", "llm", "tools"):
        (checkout / link).symlink_to(Path("src") / "nearfar" / link, target_is_directory=True)
    out = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-c", BUILD, str(out)], cwd=checkout, check=True, capture_output=True
    )
    (wheel,) = out.glob("*.whl")
    (sdist,) = out.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as opened:
        in_wheel = set(opened.namelist())
    with tarfile.open(sdist) as opened_sdist:
        in_sdist = {name.partition("/")[2] for name in opened_sdist.getnames()}
    return in_wheel, in_sdist


class TestArchives:
    def test_both_hold_the_built_in_models_and_the_type_marker(
        self, archives: tuple[set[str], set[str]]
    ) -> None:
        in_wheel, in_sdist = archives
        wanted = {*tracked_assets(), "nearfar/py.typed"}
        assert wanted - in_wheel == set()
        assert {f"src/{name}" for name in wanted} - in_sdist == set()

    def test_both_hold_every_module(self, archives: tuple[set[str], set[str]]) -> None:
        in_wheel, in_sdist = archives
        modules = {path.relative_to(ROOT / "src") for path in (ROOT / "src").rglob("*.py")}
        names = {path.as_posix() for path in modules}
        assert names - in_wheel == set()
        assert {f"src/{name}" for name in names} - in_sdist == set()

    def test_both_hold_every_prompt(self, archives: tuple[set[str], set[str]]) -> None:
        in_wheel, in_sdist = archives
        folder = ROOT / "src" / "nearfar" / "prompts" / "templates"
        names = {path.relative_to(ROOT / "src").as_posix() for path in folder.rglob("*.md")}
        assert names - in_wheel == set()
        assert {f"src/{name}" for name in names} - in_sdist == set()

    def test_both_hold_licence_and_readme(self, archives: tuple[set[str], set[str]]) -> None:
        in_wheel, in_sdist = archives
        assert {"README.md", "LICENSE", "NOTICE", "pyproject.toml"} <= in_sdist
        licences = {name.rpartition("/")[2] for name in in_wheel if "dist-info/licenses/" in name}
        assert {"LICENSE", "NOTICE"} <= licences

    def test_nothing_lies_beside_the_package(self, archives: tuple[set[str], set[str]]) -> None:
        in_wheel, in_sdist = archives
        tops = {name.partition("/")[0] for name in in_wheel}
        assert all(top == "nearfar" or top.endswith(".dist-info") for top in tops)
        assert not {
            name
            for name in in_sdist
            if name.split("/")[0] in ("tests", "agents", "llm", "graphs", "tools")
        }


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


class TestLock:
    def test_it_pins_everything_that_pyproject_names(self) -> None:
        pinned = {plain(name) for name in re.findall(r"^([\w.-]+)==", LOCK, re.MULTILINE)}
        needed = [*PROJECT["project"]["dependencies"]]
        needed += [item for group in PROJECT["dependency-groups"].values() for item in group]
        names = {plain(re.split(r"[<>=!~;\[ ]", line, maxsplit=1)[0]) for line in needed}
        assert names - pinned == set()

    def test_every_pin_has_a_hash_and_none_names_a_place(self) -> None:
        pins = re.findall(r"^[\w.-]+==.*?(?=^\S|\Z)", LOCK, re.MULTILINE | re.DOTALL)
        assert len(pins) == len(re.findall(r"^\S", LOCK, re.MULTILINE))
        assert all("--hash=sha256:" in pin for pin in pins)
        assert "://" not in LOCK
        assert "index-url" not in LOCK
        assert "find-links" not in LOCK
        assert "--hash=md5" not in LOCK


def test_the_linter_looks_at_every_module_once() -> None:
    command = [sys.executable, "-m", "ruff", "check", "--show-files", "."]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    seen = [Path(line).relative_to(ROOT) for line in shown.stdout.splitlines()]
    assert len(seen) == len(set(seen))
    modules = {path.relative_to(ROOT) for path in (ROOT / "src").rglob("*.py")}
    assert modules <= set(seen)


@pytest.mark.parametrize("room", ["agents", "graphs", "llm", "tools"])
def test_the_rooms_are_seen_from_the_door(room: str) -> None:
    """A clone without link support has a small text file instead, which names the folder."""
    link = ROOT / room
    target = link.readlink() if link.is_symlink() else Path(link.read_text(encoding="utf-8"))
    assert target.as_posix() == f"src/nearfar/{room}"
