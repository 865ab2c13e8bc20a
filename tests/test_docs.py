"""Every fenced block of README.md and docs/ is run, page by page, in order.

Blocks of one page share a folder that holds copies of docs/ and the small files the pages speak of.
`python` is run by Python, `bash` and `console` by a shell in which `nearfar` is on the path; a `yaml`
block with keys of nearfar.yaml must be accepted. Two words may follow the language:

- ``file="flow.py"`` writes the block to that file first;
- ``no-run="why"`` exempts it: counted, and few.
"""

import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docx
import pytest
import yaml

from nearfar.settings import Settings, load

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
MAX_EXEMPT = 5
BLOCK_LIMIT_S = 150
FENCE = re.compile(
    r"^(?P<indent> *)(?P<fence>`{3,}|~{3,})(?P<info>[^\n]*)\n(?P<code>.*?)^ *(?P=fence) *$",
    re.MULTILINE | re.DOTALL,
)
WORD = re.compile(r'([\w-]+)="([^"]*)"')
VARIABLE = re.compile(r"(?<!\$)\$\{(\w+)\}")

# What a page tells a newcomer to install is here already; the suite does not run itself.
PREAMBLE = """\
set -eo pipefail
uv() { if [ "$1" = run ]; then shift; "$@"; fi; }
pip() { :; }
pytest() { :; }
"""


@dataclass(frozen=True)
class Block:
    """A fenced block; ``line`` is where its fence stands."""

    page: Path
    line: int
    language: str
    code: str
    words: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(text):
        info = match["info"].strip()
        indent = match["indent"]
        code = "\n".join(line.removeprefix(indent) for line in match["code"].splitlines()) + "\n"
        line = text.count("\n", 0, match.start()) + 1
        language = info.split(maxsplit=1)[0] if info else ""
        found.append(Block(page, line, language, code, dict(WORD.findall(info))))
    return found


def commands_of(block: Block) -> str:
    """A `console` block shows commands after `$ ` and what they print below."""
    if block.language != "console":
        return block.code
    lines = []
    continued = False
    for line in block.code.splitlines():
        if line.startswith("$ ") or continued:
            lines.append(line.removeprefix("$ "))
            continued = line.endswith("\\")
    return "\n".join(lines) + "\n"


def sample_files(folder: Path) -> None:
    """The files that the pages speak of."""
    shutil.copytree(ROOT / "docs", folder / "docs")
    shutil.copy(ROOT / "README.md", folder / "README.md")
    (folder / "papers").mkdir()
    (folder / "papers" / "lamps.md").write_text(
        "# Lamps\n\n## Signals\n\nThe green lamp is lit when the kiln has reached 900 degrees.\n"
        "The red lamp is lit when the door of the kiln is open.\n",
        encoding="utf-8",
    )
    (folder / "papers" / "kiln.txt").write_text(
        "The kiln was built in 1962. It burns gas and holds forty bowls.\n", encoding="utf-8"
    )
    (folder / "report.md").write_text(
        "# Report\n\nIn 2025 the workshop made 412 bowls, 30 more than the year before.\n",
        encoding="utf-8",
    )
    notes = docx.Document()
    notes.add_heading("Notes", level=1)
    notes.add_paragraph("The glaze needs two days to dry before the second firing.")
    notes.save(str(folder / "notes.docx"))


@pytest.fixture
def workshop(tmp_path: Path, home_folder: Path) -> Path:
    folder = tmp_path / "workshop"
    folder.mkdir()
    sample_files(folder)
    tools = tmp_path / "tools"
    tools.mkdir()
    script = tools / "nearfar"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m nearfar "$@"\n', encoding="utf-8")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return folder


def run_block(block: Block, folder: Path) -> None:
    if name := block.words.get("file"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(block.code, encoding="utf-8")
    if block.language == "python":
        execute(block, [sys.executable, block.words.get("file") or "-"], folder)
    elif block.language in ("bash", "console", "sh", "shell"):
        if shutil.which("bash"):
            execute(block, ["bash", "-s"], folder)
    elif block.language == "yaml":
        check_settings(block, folder)


def execute(block: Block, command: list[str], folder: Path) -> None:
    python = block.language == "python"
    tools = os.pathsep.join([str(folder.parent / "tools"), str(Path(sys.executable).parent)])
    done = subprocess.run(
        command,
        input=block.code if python else PREAMBLE + commands_of(block),
        cwd=folder,
        env={**os.environ, "PATH": tools + os.pathsep + os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=BLOCK_LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, f"{block}\n{block.code}\n{done.stdout}\n{done.stderr}"


def check_settings(block: Block, folder: Path) -> None:
    tree: Any = yaml.safe_load(block.code)
    if not isinstance(tree, dict) or not set(tree) & set(Settings.model_fields):
        return
    file = folder / block.words.get("file", "checked.yaml")
    file.write_text(block.code, encoding="utf-8")
    load(file, dict.fromkeys(VARIABLE.findall(block.code), "x"))


@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_of_the_page_works(page: Path, workshop: Path) -> None:
    for block in blocks_of(page):
        if not block.words.get("no-run"):
            run_block(block, workshop)


def test_few_blocks_are_exempt_and_each_says_why() -> None:
    blocks = [block for page in PAGES for block in blocks_of(page)]
    assert not [str(b) for b in blocks if "no-run" in b.words and not b.words["no-run"].strip()]
    exempt = [f"{block}: {block.words['no-run']}" for block in blocks if block.words.get("no-run")]
    assert len(exempt) <= MAX_EXEMPT, exempt


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_to_files_of_the_repository_lead_somewhere(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text)
    local = [
        target for target in targets if "://" not in target and not target.startswith("mailto:")
    ]
    assert [target for target in local if not (page.parent / target).exists()] == []


class TestTheRunnerItself:
    """A checker that cannot fail checks nothing."""

    def block(self, language: str, code: str, **words: str) -> Block:
        return Block(ROOT / "README.md", 1, language, code, words)

    @pytest.mark.parametrize(
        ("language", "code"),
        [
            ("python", "raise SystemExit(1)"),
            ("bash", "false\ntrue"),
            ("console", "$ nearfar nonsense\nsome output"),
            ("bash", "uv run nearfar nonsense"),
        ],
    )
    def test_it_fails_on_what_fails(self, workshop: Path, language: str, code: str) -> None:
        with pytest.raises(AssertionError):
            run_block(self.block(language, code), workshop)

    def test_it_refuses_settings_that_are_wrong(self, workshop: Path) -> None:
        with pytest.raises(Exception, match="max_activ"):
            run_block(self.block("yaml", "local: {max_activ: 2}"), workshop)

    def test_blocks_share_their_folder(self, workshop: Path) -> None:
        run_block(self.block("python", "x = 1\n", file="made.py"), workshop)
        run_block(self.block("bash", "pip install uv && uv run test -f made.py\n"), workshop)
        run_block(self.block("console", "$ test -f \\\n  made.py\nno command\n"), workshop)

    def test_it_finds_blocks_with_their_words(self, tmp_path: Path) -> None:
        page = tmp_path / "page.md"
        page.write_text('a\n\n  ```bash no-run="why not"\n  x\n  ```\n~~~python\ny\n~~~\n')
        first, second = blocks_of(page)
        assert (first.language, first.code, first.line) == ("bash", "x\n", 3)
        assert first.words == {"no-run": "why not"}
        assert (second.language, second.code) == ("python", "y\n")
