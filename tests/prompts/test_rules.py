"""Each rule finds what it is there for, and nothing in the prompts that come with Nearfar."""

from pathlib import Path

import pytest

from nearfar.prompts import Library, check, library
from nearfar.settings import Settings

GOOD = "Answer in one sentence. If the text does not say, write exactly: unknown.\n{{ text }}\n"
HEAD = """---
name: ask
description: Asks.
variables:
  text: {description: The text., untrusted: true}
---
"""


def rules(tmp_path: Path, body: str, head: str = HEAD, window: int | None = None) -> set[str]:
    (tmp_path / "ask.md").write_text(head + body, encoding="utf-8")
    prompt = Library([(tmp_path, "own")]).get("ask")
    return {finding.rule for finding in check(prompt, window=window)}


def test_a_good_prompt_has_no_findings(tmp_path: Path) -> None:
    assert rules(tmp_path, GOOD, window=4096) == set()


@pytest.mark.parametrize(
    ("rule", "body", "head"),
    [
        ("no-output-format", "What is this about? If it does not say, stop. {{ text }}", HEAD),
        ("ambiguous", GOOD + "Add several examples etc.", HEAD),
        ("unused-variable", "Answer in one sentence, only from what is known.", HEAD),
        ("unmarked-data", GOOD, HEAD.replace(", untrusted: true", "")),
        ("no-description", GOOD, HEAD.replace("description: Asks.\n", "")),
        ("no-description", GOOD, HEAD.replace("description: The text., ", "")),
        ("no-way-out", "Answer in one sentence: {{ text }}", HEAD),
        ("contradiction", GOOD + "Be brief. Explain it in detail.", HEAD),
        ("hidden-character", GOOD + "\u202eabc", HEAD),
        ("secret", GOOD + "sk-abcdefghijklmnopqrstuvwx", HEAD),
        ("shouting", GOOD + "NEVER EVER DO THIS", HEAD),
        ("empty", "", HEAD),
    ],
)
def test_each_rule_finds_its_kind(tmp_path: Path, rule: str, body: str, head: str) -> None:
    assert rule in rules(tmp_path, body, head)


def test_length_is_measured_against_the_window(tmp_path: Path) -> None:
    long = GOOD + "Answer in one sentence. " * 200
    assert "too-long" in rules(tmp_path, long, window=1024)
    assert "too-long" not in rules(tmp_path, long, window=32_768)
    assert "too-long" not in rules(tmp_path, long)


def test_a_finding_names_the_line_in_the_file(tmp_path: Path) -> None:
    (tmp_path / "ask.md").write_text(HEAD + GOOD + "Add several.\n", encoding="utf-8")
    prompt = Library([(tmp_path, "own")]).get("ask")
    [found] = [f for f in check(prompt) if f.rule == "ambiguous"]
    lines = (tmp_path / "ask.md").read_text(encoding="utf-8").splitlines()
    assert "several" in lines[found.line - 1]


def test_the_prompts_that_come_with_nearfar_have_no_findings() -> None:
    shelf = library(Settings())
    assert {p.name: check(p, window=8192) for p in shelf.all() if check(p, window=8192)} == {}
