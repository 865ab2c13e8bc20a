"""docs/troubleshooting.md is where an error's ``docs`` points to."""

import re
from collections.abc import Iterator
from pathlib import Path

from nearfar.errors import NearfarError

PAGE = Path(__file__).parents[1] / "docs" / "troubleshooting.md"
SECTION = re.compile(r"^### (NF-\d{3})\n\*\*(\w+)\.\*\* (\S.*)$", re.MULTILINE)


def tree(kind: type[NearfarError]) -> Iterator[type[NearfarError]]:
    yield kind
    for child in kind.__subclasses__():
        if child.__module__ == "nearfar.errors":
            yield from tree(child)


def test_each_error_has_a_section_under_its_code() -> None:
    sections = {code: name for code, name, _ in SECTION.findall(PAGE.read_text(encoding="utf-8"))}
    assert sections == {kind.code: kind.__name__ for kind in tree(NearfarError)}


def test_the_link_in_an_error_leads_to_its_heading() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for kind in tree(NearfarError):
        page, anchor = kind("x").docs.split("#")
        assert page == "docs/troubleshooting.md"
        assert f"\n### {anchor.upper()}\n" in text
