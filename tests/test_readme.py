"""The README is the front page of the documentation, and says what it must."""

from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_documentations_index_is_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    assert index == readme.replace("](docs/", "](")


def test_the_two_commands_stand_in_it_word_for_word() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    question = '"In which order are execution providers tried?"'
    assert f"pip install uv && uv run nearfar ask {question} --docs docs/" in lines
    assert "pip install uv && uv run pytest" in lines
