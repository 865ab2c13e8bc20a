"""The ask workflow: the model's words, the passages' citations, and nothing that does not hold."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessageChunk, BaseMessage
from langgraph.checkpoint.memory import InMemorySaver

from nearfar.errors import (
    ContextWindowError,
    DocumentNotFoundError,
    IndexNotFoundError,
    NoDocumentsError,
    UsageError,
)
from nearfar.graphs.ask import UNANSWERED, build_ask
from nearfar.graphs.registry import workflow
from nearfar.graphs.sentences import sentences
from nearfar.llm import LocalChatModel
from nearfar.retrieval import Index
from nearfar.settings import Settings
from nearfar.testing import ScriptedChatModel, make_random_model

from .docs_questions import write_noise

DATA = Path(__file__).parents[1] / "data"
ROOT = DATA.parents[1]
SETTINGS = Settings()
KEYS = ["answer", "answered", "citations", "confidence", "model", "usage", "timings"]


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    path = tmp_path / "notes.md"
    path.write_text(
        "# Kiln\n\nThe kiln was built in 1962. It burns gas and holds forty bowls.\n\n"
        "# Lamps\n\nThe green lamp is lit when the kiln has reached 900 degrees.\n",
        encoding="utf-8",
    )
    return path


def number_of(word: str) -> Any:
    """A reply that cites the passage which holds the word."""

    def reply(messages: list[BaseMessage]) -> str:
        lines = str(messages[-1].text).splitlines()
        line = next(line for line in lines if line.startswith("[") and word in line)
        return f"It dates from {word} {line.split()[0]}."

    return reply


def test_the_words_are_the_models_and_the_citations_the_passages(notes: Path) -> None:
    with ScriptedChatModel([number_of("1962")]) as model:
        result = build_ask(model, settings=SETTINGS).invoke(
            {"question": "When was the kiln built?", "docs": [str(notes)]}
        )
    assert list(result) == KEYS
    assert result["answered"] is True
    assert result["answer"].startswith("It dates from 1962 [")
    [citation] = result["citations"]
    assert list(citation) == ["n", "source", "page", "heading", "quote", "score"]
    assert citation["source"] == str(notes)
    assert citation["quote"] == "The kiln was built in 1962."
    assert citation["heading"] == "Kiln"
    assert 0 < result["confidence"] <= 1
    assert result["model"] == "scripted"
    assert result["usage"]["output_tokens"] > 0
    prompt = model.calls[0].messages
    assert prompt[0].text.startswith("Answer from the passages and cite them.")
    assert str(prompt[1].text).startswith("[1] ")
    assert str(prompt[1].text).endswith("\n\nQuestion: When was the kiln built?")


def test_a_refusal_of_the_model_is_no_answer_and_cites_nothing(notes: Path) -> None:
    with ScriptedChatModel(["The documents do not say."]) as model:
        result = build_ask(model, settings=SETTINGS).invoke(
            {"question": "Who built the kiln?", "docs": [str(notes)]}
        )
    assert (result["answered"], result["citations"]) == (False, [])
    assert result["answer"] == "The documents do not say."


def test_an_invented_citation_goes_and_lowers_the_confidence(notes: Path) -> None:
    def confidence(reply: str) -> Any:
        with ScriptedChatModel([reply]) as model:
            return build_ask(model, settings=SETTINGS).invoke(
                {"question": "When was the kiln built?", "docs": [str(notes)]}
            )

    good, bad = confidence("The kiln was built in 1962."), confidence("It was built in 1962. [99]")
    assert "[99]" not in bad["answer"]
    assert bad["confidence"] < good["confidence"]


def test_in_quote_mode_only_sentences_of_the_documents_are_left(notes: Path) -> None:
    reply = "The kiln was built in 1962. [1] It is very beautiful. [1]"
    with ScriptedChatModel([reply]) as model:
        result = build_ask(model, settings=SETTINGS).invoke(
            {"question": "When was the kiln built?", "docs": [str(notes)], "mode": "quote"}
        )
    assert "beautiful" not in result["answer"]
    assert result["citations"][0]["quote"] == "The kiln was built in 1962."
    with ScriptedChatModel(["It is very beautiful. [1]"]) as model:
        result = build_ask(model, settings=SETTINGS).invoke(
            {"question": "When was the kiln built?", "docs": [str(notes)], "mode": "quote"}
        )
    assert (result["answered"], result["answer"]) == (False, UNANSWERED)


def test_a_follow_up_is_made_to_stand_alone_from_the_history(notes: Path) -> None:
    history = [("user", "When was the kiln built?"), ("ai", "In 1962. [1]")]
    with ScriptedChatModel(["What does the kiln burn?", "The kiln burns gas."]) as model:
        result = build_ask(model, settings=SETTINGS).invoke(
            {"question": "What does it burn?", "docs": [str(notes)], "messages": history}
        )
    assert "When was the kiln built?" in model.calls[0].text
    assert str(model.calls[1].messages[-1].text).endswith("Question: What does the kiln burn?")
    assert result["usage"]["input_tokens"] > 0


def test_a_thread_is_its_own_history_and_remembers_where_to_look(notes: Path) -> None:
    script = ["It was built in 1962.", "What does the kiln burn?", "It burns gas."]
    with ScriptedChatModel(script) as model:
        graph = build_ask(model, settings=SETTINGS).copy({"checkpointer": InMemorySaver()})
        config: Any = {"configurable": {"thread_id": "t"}}
        graph.invoke({"question": "When was the kiln built?", "docs": [str(notes)]}, config)
        second = graph.invoke({"question": "What does it burn?"}, config)
    assert second["answered"]
    assert second["timings"]["condense_s"] < second["timings"]["total_s"]


async def test_it_streams_the_words_of_the_answer_and_only_these(notes: Path) -> None:
    history = [("user", "When was the kiln built?"), ("ai", "In 1962. [1]")]
    with ScriptedChatModel(["What does the kiln burn?", "It burns gas."]) as model:
        graph = build_ask(model, settings=SETTINGS)
        words = [
            str(message.text)
            async for message, _ in graph.astream(
                {"question": "What does it burn?", "docs": [str(notes)], "messages": history},
                stream_mode="messages",
            )
            if isinstance(message, AIMessageChunk)
        ]
    assert "".join(words) == "It burns gas."
    assert len(words) > 2


def test_an_index_can_be_named_or_be_part_of_the_graph(notes: Path) -> None:
    index = Index.open("kilns", create=True)
    index.add([str(notes)])
    question = "When was the kiln built?"
    with ScriptedChatModel(["In 1962.", "In 1962."]) as model:
        named = build_ask(model, settings=SETTINGS).invoke({"question": question, "index": "kilns"})
        given = build_ask(model, index, SETTINGS).invoke({"question": question})
    assert named["answered"]
    assert given["answer"] == named["answer"]


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"question": " ", "docs": ["x"]}, UsageError),
        ({"question": 5, "docs": ["x"]}, UsageError),
        ({"question": "a?", "docs": ["x"], "mode": "verbatim"}, UsageError),
        ({"question": "a?", "docs": "no-such-file"}, DocumentNotFoundError),
        ({"question": "a?"}, UsageError),
        ({"question": "a?", "docs": ["x"], "index": "y"}, UsageError),
        ({"question": "a?", "docs": ["no-such-file"]}, DocumentNotFoundError),
        ({"question": "a?", "index": "none"}, IndexNotFoundError),
    ],
)
def test_input_that_cannot_be_used_is_refused_before_a_model_is_asked(
    values: dict[str, Any], error: type[Exception]
) -> None:
    with ScriptedChatModel([]) as model, pytest.raises(error):
        build_ask(model, settings=SETTINGS).invoke(values)


def test_an_empty_folder_is_reported(tmp_path: Path) -> None:
    with ScriptedChatModel([]) as model, pytest.raises(NoDocumentsError):
        build_ask(model, settings=SETTINGS).invoke({"question": "a?", "docs": [str(tmp_path)]})


class TestTheBuiltInModel:
    """On the real model and the real index."""

    def test_it_answers_with_a_sentence_of_the_document(self, notes: Path) -> None:
        result = workflow("ask", settings=SETTINGS).invoke(
            {"question": "When was the kiln built?", "docs": [str(notes)]}
        )
        assert result["answer"] == "The kiln was built in 1962. [1]"
        assert result["citations"][0]["quote"] == "The kiln was built in 1962."

    def test_a_follow_up_takes_up_the_question_before(self, notes: Path) -> None:
        result = workflow("ask", settings=SETTINGS).invoke(
            {
                "question": "And what does it burn?",
                "docs": [str(notes)],
                "messages": [("user", "When was the kiln built?"), ("ai", "In 1962.")],
            }
        )
        assert result["citations"] == [] or result["citations"][0]["source"] == str(notes)

    def test_a_question_longer_than_the_window_is_refused_with_both_numbers(
        self, notes: Path
    ) -> None:
        with pytest.raises(ContextWindowError) as caught:
            build_ask(LocalChatModel(), settings=SETTINGS).invoke(
                {"question": "why " * 5000, "docs": [str(notes)]}
            )
        assert caught.value.data["prompt_tokens"] > caught.value.data["window"] > 0
        assert str(caught.value.data["prompt_tokens"]) in str(caught.value)

    def test_too_many_passages_are_dropped_and_never_overflow_the_window(
        self, tmp_path: Path
    ) -> None:
        long = tmp_path / "long.txt"
        lines = [
            f"The kiln number {n} was built in {1800 + n} " + "of brick " * 40 for n in range(60)
        ]
        long.write_text(".\n".join(lines), encoding="utf-8")
        settings = Settings.model_validate({"retrieval": {"k": 60}})
        result = build_ask(settings=settings).invoke(
            {"question": "When was the kiln number 7 built?", "docs": [str(long)]}
        )
        assert list(result) == KEYS

    def test_accuracy_on_the_set_that_the_thresholds_were_chosen_on(self) -> None:
        tests = json.loads((DATA / "ask_dev.json").read_text())
        right, refused = _score(tests, Index.for_paths([DATA / tests["corpus"]]))
        assert right >= 28, f"{right} of 32 answered rightly"
        assert refused >= 13, f"{refused} of 20 refused"

    @pytest.mark.timeout(400)  # it embeds every page, and others besides
    def test_questions_about_our_own_documentation_the_readmes_first(self, tmp_path: Path) -> None:
        """Also among pages that share its words and answer nothing."""
        tests = json.loads((DATA / "ask_docs.json").read_text())
        index = Index.for_paths([ROOT / "docs"])
        for least in (13, 12):
            right, refused = _score(tests, index)
            assert right >= least, f"{right} of {len(tests['answerable'])} answered rightly"
            assert refused >= 5, f"{refused} of {len(tests['unanswerable'])} refused"
            index.add([write_noise(tmp_path / "noise")])
        readme = "In which order are execution providers tried?"
        result = workflow("ask", settings=SETTINGS).invoke(
            {"question": readme, "docs": [str(ROOT / "docs")]}
        )
        named = re.findall("directml|dml|qnn|cuda|cpu", result["answer"].lower())
        assert named in (["directml", "qnn", "cuda", "cpu"], ["dml", "qnn", "cuda", "cpu"])


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("mode", ["answer", "quote"])
def test_a_model_of_random_weights_can_only_cite_what_was_found(
    notes: Path, tmp_path: Path, seed: int, mode: str
) -> None:
    folder = make_random_model(tmp_path / "model", seed=seed, vocab_size=512)
    model = LocalChatModel(model=str(folder), max_tokens=80, temperature=1.0, seed=seed)
    graph = build_ask(model, settings=SETTINGS)
    result = graph.invoke(
        {"question": "When was the kiln built?", "docs": [str(notes)], "mode": mode}
    )
    model.engine.close()
    text = notes.read_text(encoding="utf-8")
    assert result["answered"]
    passages = len(Index.for_paths([notes]).search("When was the kiln built?"))
    assert all(citation["quote"] in text for citation in result["citations"])
    assert all(1 <= int(n) <= passages for n in re.findall(r"\[(\d+)\]", result["answer"]))
    if mode == "quote":
        assert result["citations"]
        bare = re.sub(r"\s*\[\d+\]", "", result["answer"])
        assert all(sentence.text in text for sentence in sentences(bare))


def _score(tests: dict[str, Any], index: Index) -> tuple[int, int]:
    graph = build_ask(index=index, settings=SETTINGS)
    right = refused = 0
    for question, expected in tests["answerable"]:
        result = graph.invoke({"question": question})
        right += result["answered"] and expected in result["answer"]
    for question in tests["unanswerable"]:
        refused += not graph.invoke({"question": question})["answered"]
    return right, refused
