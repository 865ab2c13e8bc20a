"""Workflows are found by name or place, in any of the shapes people give them."""

import sys
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from typing_extensions import TypedDict

from nearfar.errors import WorkflowError, WorkflowNotFoundError
from nearfar.graphs.loading import Place, parse_place
from nearfar.graphs.registry import find, names, workflow
from nearfar.settings import Settings, load_settings

GRAPH_FILE = """
from contextlib import asynccontextmanager
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

class State(TypedDict):
    text: str

def shout(state: State) -> State:
    return {"text": state["text"].upper()}

builder = StateGraph(State).add_node(shout).add_edge(START, "shout")
graph = builder.compile()

def make():
    return builder

def make_with(settings):
    assert settings is not None
    return graph

def needs(thing):
    return graph

async def later():
    return graph

@asynccontextmanager
async def opened():
    yield graph

def leaves():
    raise SystemExit(3)

def breaks():
    raise RuntimeError("no luck")

number = 7
"""


class State(TypedDict):
    """A state of one field."""

    text: str


def echo(state: State) -> State:
    """Give back what came."""
    return state


@pytest.fixture(autouse=True)
def _imports_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(GRAPH_FILE, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("reference", "place"),
    [
        ("ask", None),
        ("./flow.py", Place("./flow.py", "graph", is_file=True)),
        ("flow.py:other", Place("flow.py", "other", is_file=True)),
        (r"C:\x\file.py:graph", Place(r"C:\x\file.py", "graph", is_file=True)),
        (r"C:\x\file.py", Place(r"C:\x\file.py", "graph", is_file=True)),
        ("C:/x/file.py:flows.main", Place("C:/x/file.py", "flows.main", is_file=True)),
        ("package.module", Place("package.module", "graph", is_file=False)),
        ("package.module:made", Place("package.module", "made", is_file=False)),
        ("module:made", Place("module", "made", is_file=False)),
        ("not a name", None),
    ],
)
def test_references_are_taken_apart_also_with_a_drive(reference: str, place: Place | None) -> None:
    assert parse_place(reference) == place


@pytest.mark.parametrize("attribute", ["graph", "builder", "make", "make_with", "later"])
def test_a_graph_may_be_compiled_or_not_or_made_by_a_function(file: Path, attribute: str) -> None:
    graph = workflow(f"{file}:{attribute}", settings=Settings())
    assert isinstance(graph, CompiledStateGraph)
    assert graph.checkpointer is None
    assert graph.invoke({"text": "hi"}) == {"text": "HI"}


async def test_an_async_function_makes_a_graph_also_where_a_loop_runs(file: Path) -> None:
    graph = workflow(f"{file}:later", settings=Settings())
    assert await graph.ainvoke({"text": "hi"}) == {"text": "HI"}


def test_the_attribute_graph_is_meant_when_none_is_named(file: Path) -> None:
    assert find(str(file), Settings()).graph().invoke({"text": "hi"}) == {"text": "HI"}


def test_an_edited_file_is_loaded_anew(file: Path) -> None:
    assert workflow(str(file), settings=Settings()).invoke({"text": "hi"}) == {"text": "HI"}
    file.write_text(GRAPH_FILE.replace("upper()", "title() + '!'"), encoding="utf-8")
    assert workflow(str(file), settings=Settings()).invoke({"text": "hi"}) == {"text": "Hi!"}


def test_a_file_can_import_what_stands_beside_it(file: Path) -> None:
    (file.parent / "beside_mine.py").write_text("WORD = 'there'\n", encoding="utf-8")
    file.write_text("import beside_mine\n" + GRAPH_FILE, encoding="utf-8")
    assert workflow(str(file), settings=Settings()).invoke({"text": "hi"}) == {"text": "HI"}


def test_a_checkpointer_that_a_graph_was_compiled_with_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    builder = StateGraph(State).add_node("echo", echo).add_edge(START, "echo")
    kept = builder.compile(checkpointer=InMemorySaver())
    monkeypatch.setattr(sys.modules[__name__], "kept", kept, raising=False)
    assert workflow(f"{__name__}:kept", settings=Settings()).checkpointer is None
    assert kept.checkpointer is not None


@pytest.mark.parametrize(
    ("attribute", "message"),
    [
        ("number", "is a int, not a LangGraph graph"),
        ("needs", "needs thing"),
        ("opened", "is a context manager"),
        ("leaves", "SystemExit: 3"),
        ("breaks", "RuntimeError: no luck"),
    ],
)
def test_what_is_no_graph_is_named_with_the_reason(
    file: Path, attribute: str, message: str
) -> None:
    with pytest.raises(WorkflowError, match=message):
        workflow(f"{file}:{attribute}", settings=Settings())


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("x = 1\ndef broken(:\n", 2, "SyntaxError"),
        ("x = 1\n\ny = 1 / 0\n", 3, "ZeroDivisionError"),
        ("import no_such_package_here\n", 1, "ModuleNotFoundError.*no_such_package_here"),
        ("import sys\nsys.exit(3)\n", 2, "SystemExit: 3"),
    ],
)
def test_a_broken_file_is_reported_with_reason_and_line(
    tmp_path: Path, text: str, line: int, reason: str
) -> None:
    path = tmp_path / "broken.py"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(WorkflowError, match=rf"line {line}: {reason}") as caught:
        workflow(str(path), settings=Settings())
    assert caught.value.data["line"] == line
    assert not isinstance(caught.value, WorkflowNotFoundError)


def test_a_missing_file_suggests_the_nearest(file: Path) -> None:
    with pytest.raises(WorkflowNotFoundError) as caught:
        workflow(f"{file.parent / 'mien.py'}:graph", settings=Settings())
    assert caught.value.remedy == "Did you mean mine.py?"


def test_a_missing_attribute_suggests_the_graphs_that_are_there(file: Path) -> None:
    with pytest.raises(WorkflowNotFoundError) as caught:
        workflow(f"{file}:grpah", settings=Settings())
    assert ":graph?" in caught.value.remedy


@pytest.mark.parametrize("reference", ["no_such_module_here:graph", "nearfar.no_such_part:graph"])
def test_a_missing_module_is_not_found(reference: str) -> None:
    with pytest.raises(WorkflowNotFoundError, match="no module"):
        workflow(reference, settings=Settings())


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(WorkflowNotFoundError) as caught:
        find("aks", Settings())
    assert caught.value.remedy.startswith("Did you mean ask?")
    assert caught.value.data["known"] == names(Settings())


def test_names_of_the_settings_come_first(file: Path) -> None:
    settings = Settings(workflows={"ask": f"{file}:graph", "shout": f"{file}:builder"})
    assert sorted({*names(Settings()), "shout"}) == names(settings)
    assert find("ask", settings).origin == "settings"
    assert find("ask", Settings()).origin == "built-in"
    assert workflow("shout", settings=settings).invoke({"text": "hi"}) == {"text": "HI"}


class _Point:
    name = "packaged"
    value = "somewhere:graph"
    dist = None

    def __init__(self, found: Any) -> None:
        self.found = found

    def load(self) -> Any:
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


def _install(monkeypatch: pytest.MonkeyPatch, point: _Point) -> None:
    def entry_points(*, group: str) -> list[_Point]:
        return [point] if group == "nearfar.workflows" else []

    monkeypatch.setattr("nearfar.graphs.registry.entry_points", entry_points)


def test_packages_offer_workflows_by_entry_points(monkeypatch: pytest.MonkeyPatch) -> None:
    builder = StateGraph(State).add_node("echo", echo).add_edge(START, "echo")
    _install(monkeypatch, _Point(builder))
    assert "packaged" in names(Settings())
    assert find("packaged", Settings()).origin == "package"
    assert workflow("packaged", settings=Settings()).invoke({"text": "hi"}) == {"text": "hi"}


def test_a_package_that_does_not_load_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    _install(monkeypatch, _Point(ImportError("it needs more")))
    with pytest.raises(WorkflowError, match=r"an installed package cannot be loaded.*needs more"):
        workflow("packaged", settings=Settings())


CREW = """\
inputs: {topic: {description: What about.}}
roles: {writer: {goal: Write}}
tasks: {write: {description: "Write about {{ topic }}.", role: writer}}
"""


def test_a_crew_in_yaml_is_a_workflow(tmp_path: Path) -> None:
    file = tmp_path / "crew.yaml"
    file.write_text(CREW, encoding="utf-8")
    found = find(str(file), Settings())
    assert (found.origin, found.graph(Settings()).name) == ("file", "crew")
    (tmp_path / "nearfar.yaml").write_text("workflows: {pen: ./crew.yaml}", encoding="utf-8")
    settings = load_settings(tmp_path / "nearfar.yaml")
    named = find("pen", settings)
    assert (named.origin, named.reference) == ("settings", str(file))
    assert "topic" in named.graph(settings).get_input_jsonschema()["properties"]
