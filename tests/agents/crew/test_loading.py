"""Crews in YAML: what is wrong is told with file and line, and nothing of the environment gets in."""

from pathlib import Path

import jsonschema
import pytest
import yaml

from nearfar.agents.crew import Crew, crew_schema, load_crew
from nearfar.errors import CrewDefinitionError

GOOD = """\
description: Writes about a topic.
inputs:
  topic: {description: What about.}
roles:
  finder: {goal: Find facts}
  writer: {goal: Write well}
tasks:
  find: {description: "Find {{ topic }}.", role: finder}
  write: {description: Write., role: writer, after: [find]}
"""


def put(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "my-crew.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_crew_is_called_as_its_file(tmp_path: Path) -> None:
    crew = load_crew(put(tmp_path, GOOD))
    assert crew.name == "my-crew"
    assert crew.needs("write") == ["find"]


def test_the_schema_describes_the_file() -> None:
    schema = crew_schema()
    jsonschema.validate(yaml.safe_load(GOOD), schema)
    wrong = yaml.safe_load(GOOD.replace("goal: Find facts", "gaol: Find facts"))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, schema)


@pytest.mark.parametrize(
    ("old", "new", "line", "told"),
    [
        ("goal: Find facts", "gaol: Find facts", 5, "Did you mean 'goal'"),
        ("role: finder}", "role: fnder}", 8, "there is no role 'fnder'"),
        ("after: [find]", "after: [fnid]", 9, "there is no task 'fnid'"),
        ("after: [find]", "after: [write]", 9, "wait for each other: write -> write"),
        ("{{ topic }}", "{{ tpoic }}", 8, "there is no variable 'tpoic'"),
        ("{{ topic }}", "{{ topic.x() }}", 8, "templates have no 'a call'"),
        ("  topic:", "  results:", 3, "keep for themselves"),
        ("role: writer, ", "", 9, "needs a `role`"),
        ("description: Writes", "process: circular\ndescription: Writes", 1, "must be one of"),
        ("description: Writes", "process: hierarchical\ndescription: Writes", 1, "needs a `lead`"),
        ("description: Writes", "lead: writer\ndescription: Writes", 1, "hierarchical crew has a lead"),
        ("description: Writes", "output: fnid\ndescription: Writes", 1, "there is no task 'fnid'"),
        ("after: [find]", "guard: {matches: '('}", 9, "no regular expression"),
        ("roles:", "roles: [", 4, "not valid YAML"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_line(
    tmp_path: Path, old: str, new: str, line: int, told: str
) -> None:
    file = put(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(CrewDefinitionError) as caught:
        load_crew(file)
    assert told in caught.value.message
    if told != "not valid YAML":
        assert caught.value.data["line"] == line
        assert f"{file}, line {line}" in caught.value.message


def test_tasks_that_wait_in_a_circle_are_named(tmp_path: Path) -> None:
    text = GOOD.replace("role: finder}", "role: finder, after: [write]}", 1)
    with pytest.raises(CrewDefinitionError, match=r"find -> write -> find|write -> find -> write"):
        load_crew(put(tmp_path, text))


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(CrewDefinitionError, match="no such file"):
        load_crew(tmp_path / "none.yaml")


def test_the_environment_stays_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crew may come from someone else: it must not read keys into prompts."""
    monkeypatch.setenv("SECRET_KEY", "s3cret")
    monkeypatch.setenv("NEARFAR__DESCRIPTION", "overlaid")
    crew = load_crew(put(tmp_path, GOOD.replace("Find facts", "'Find ${SECRET_KEY}'")))
    assert crew.roles["finder"].goal == "Find ${SECRET_KEY}"
    assert crew.description == "Writes about a topic."


def test_the_same_crew_can_be_made_in_python() -> None:
    assert Crew.model_validate(yaml.safe_load(GOOD)).tasks["write"].role == "writer"
