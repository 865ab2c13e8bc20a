"""The workflows that come with Nearfar: what holds for all, summarize, approve."""

import re
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

import nearfar
from nearfar.errors import EffectNotDoneError, NoDocumentsError, UnreadableDocumentError, UsageError
from nearfar.graphs.approve import build_approve
from nearfar.graphs.evidence import Found
from nearfar.graphs.inputs import input_schema
from nearfar.graphs.summarize import _commonest, build_summarize
from nearfar.testing import ScriptedChatModel

THREAD: Any = {"configurable": {"thread_id": "t"}}
PAGE = Path(__file__).parents[2] / "docs" / "guides" / "workflows.md"


@pytest.mark.parametrize("name", ["approve", "extract", "summarize"])
def test_its_picture_in_the_docs_is_its_graph(name: str) -> None:
    drawn = nearfar.workflow(name).get_graph().draw_mermaid(with_styles=False)
    pictures = re.findall(r"```mermaid\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert drawn.strip() in [picture.strip() for picture in pictures]


@pytest.mark.parametrize("name", ["approve", "extract", "summarize"])
def test_every_input_says_what_it_is(name: str) -> None:
    schema = input_schema(nearfar.workflow(name))
    assert schema.fields
    assert all(field.description for field in schema.fields)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    docs = tmp_path / "docs"
    docs.mkdir()
    for n in range(3):
        text = f"The kiln number {n} was built in 195{n}. It burns wood of the old forest.\n"
        (docs / f"{n}.txt").write_text(text, encoding="utf-8")
    return docs


async def test_summarize_maps_with_one_model_and_reduces_with_another(folder: Path) -> None:
    (folder / "scan.pdf").write_bytes(b"%PDF-1.4 broken")
    replies = [f"Kiln {n} was built in 195{n}. [1]" for n in range(3)]
    with ScriptedChatModel([*replies, "The kilns are of the 1950s. [1][2]"]) as model:
        graph = build_summarize(model)
        told = [part async for part in graph.astream({"docs": [str(folder)]}, stream_mode="custom")]
        model_calls = len(model.calls)
    assert model_calls == 4
    assert {Path(part["summarized"]).name for part in told} == {
        "0.txt",
        "1.txt",
        "2.txt",
        "scan.pdf",
    }


def test_a_summary_cites_what_stands_in_the_documents(folder: Path) -> None:
    with ScriptedChatModel(["Built in 1950. [1] Made up. [9]"] * 4) as model:
        found = build_summarize(model).invoke({"docs": [str(folder)]})
    assert "[9]" not in found["summary"]
    assert [part["error"] for part in found["documents"]] == [None] * 3
    for citation in found["citations"]:
        assert citation["quote"] in Path(citation["source"]).read_text(encoding="utf-8")


def test_one_document_gives_as_many_sentences_as_were_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "窯.txt"
    file.write_text(
        "窯は一九六二年に建てられた。薪は古い森から来る。The potters fire it often. It burns wood. "
        "The chimney is high. The museum is free.\n",
        encoding="utf-8",
    )
    found = nearfar.workflow("summarize").invoke({"docs": [str(file)], "sentences": 6})
    assert len(found["citations"]) == 6
    assert found["summary"].startswith("窯は一九六二年に建てられた。")


def test_documents_none_of_which_can_be_read_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "scan.pdf").write_bytes(b"%PDF-1.4 broken")
    (tmp_path / "empty.txt").touch()
    with pytest.raises(UnreadableDocumentError, match=r"None of .*empty\.txt is empty") as caught:
        build_summarize().invoke({"docs": [str(tmp_path)]})
    assert len(caught.value.data) == 2


def test_only_the_words_of_the_summary_itself_are_streamed(folder: Path) -> None:
    with ScriptedChatModel([*["Of one. [1]"] * 3, "Of all. [1]"]) as model:
        told: Any = build_summarize(model).stream({"docs": [str(folder)]}, stream_mode="messages")
        assert "".join(str(message.text) for message, _ in told) == "Of all. [1]"


def test_of_very_many_sentences_only_some_are_compared_by_their_meaning() -> None:
    found = [
        Found(
            text=f"The {word} number{n} of the hill.", source="", page=None, heading=None, score=0.0
        )
        for n, word in enumerate(["kiln", "odd"] * 5 + ["kiln"] * 5)
    ]
    kept = [one["text"] for one in _commonest(found, 10)]
    assert len(kept) == 10
    assert all("kiln" in text for text in kept)


def test_a_folder_without_documents_is_told(tmp_path: Path) -> None:
    with pytest.raises(NoDocumentsError):
        build_summarize().invoke({"docs": [str(tmp_path)]})


@pytest.mark.parametrize(
    ("answer", "decision", "done"),
    [
        ("approve", "approved", ["Hello"]),
        (True, "approved", ["Hello"]),
        ({"decisions": [{"type": "approve"}]}, "approved", ["Hello"]),
        ({"type": "edit", "text": "Hi"}, "edited", ["Hi"]),
        ({"type": "reject", "message": "too short"}, "rejected", []),
        (False, "rejected", []),
    ],
)
def test_what_is_approved_is_done_and_nothing_else(
    answer: Any, decision: str, done: list[str]
) -> None:
    acted: list[str] = []
    graph = build_approve(act=lambda text, to: acted.append(text)).copy(
        {"checkpointer": InMemorySaver()}
    )
    asked = graph.invoke({"draft": "Hello"}, THREAD)["__interrupt__"][0].value
    assert asked["action_requests"][0]["args"]["text"] == "Hello"
    assert acted == []
    assert graph.invoke(Command(resume="whatever"), THREAD)["__interrupt__"]  # asked again
    assert graph.invoke(Command(resume=answer), THREAD)["decision"] == decision
    assert acted == done


def test_a_model_drafts_what_was_requested(tmp_path: Path) -> None:
    file = tmp_path / "letter.txt"
    with ScriptedChatModel(["Dear Ada"]) as model:
        graph = build_approve(model=model).copy({"checkpointer": InMemorySaver()})
        graph.invoke({"request": "Greet Ada", "to": str(file)}, THREAD, durability="sync")
        graph.invoke(Command(resume="yes"), THREAD, durability="sync")
    assert file.read_text(encoding="utf-8") == "Dear Ada"


@pytest.mark.parametrize(
    "values", [{"to": "x"}, {"draft": "a", "request": "b", "to": "x"}, {"draft": "a"}]
)
def test_approve_needs_a_draft_or_a_request_and_a_place(values: Any) -> None:
    with pytest.raises(UsageError):
        build_approve().invoke(values)


async def test_a_text_that_could_not_be_written_is_written_when_the_cause_is_mended(
    tmp_path: Path,
) -> None:
    (tmp_path / "taken").write_text("a file, where a folder is needed", encoding="utf-8")
    file = tmp_path / "taken" / "letter.txt"
    async with nearfar.Runner() as runner:
        run = await runner.start("approve", {"draft": "Dear Ada", "to": str(file)})
        await run.settled()
        await runner.resume(run.id, "yes")
        with pytest.raises(EffectNotDoneError, match="cannot be written"):
            await run.result()
        (tmp_path / "taken").unlink()
        await runner.resume(run.id)
        assert (await run.result())["decision"] == "approved"
    assert file.read_text(encoding="utf-8") == "Dear Ada"
