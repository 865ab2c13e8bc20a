"""What the chat model is trained on, and what it is measured on, have nothing in common."""

import importlib
import itertools
import json
import pkgutil
import re
from pathlib import Path
from typing import Any

import pytest

from .conftest import CHAT, Programs

ROOT = Path(__file__).parents[2]
COUNT = 1500


@pytest.fixture(scope="module")
def made(programs: Programs) -> dict[str, list[Any]]:
    examples = programs("data.mixture").examples
    return {
        side: list(itertools.islice(examples("test", side), COUNT)) for side in ("train", "eval")
    }


def pools(programs: Programs) -> dict[str, Any]:
    """Every pool that a module of the generator holds, also inside dicts."""
    package, pool = programs("data"), programs("data.draw").Pool
    found: dict[str, Any] = {}
    for info in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"data.{info.name}")
        for name, value in vars(module).items():
            inside = value if isinstance(value, dict) else {"": value}
            found |= {f"{name}.{k}": v for k, v in inside.items() if isinstance(v, pool)}
    facts = programs("data.facts")
    for attribute in facts.ATTRIBUTES:
        found[f"{attribute.name} statements"] = attribute.statements
        found[f"{attribute.name} questions"] = attribute.questions
    ordinary = programs("data.ordinary").ORDINARY
    for row in (*ordinary.train, *ordinary.eval):
        found[f"{row} requests"] = row.requests
    return found


def test_no_pool_of_words_or_wordings_has_an_entry_on_both_sides(programs: Programs) -> None:
    found = pools(programs)
    assert len(found) > 120
    for name, pool in found.items():
        assert set(pool.train), name
        assert set(pool.eval), name
        assert not set(pool.train) & set(pool.eval), name


def test_no_prompt_and_no_tool_of_the_evaluation_is_in_the_training_data(
    made: dict[str, list[Any]],
) -> None:
    def prompts(side: str) -> set[str]:
        return {json.dumps([item.messages, item.tools], sort_keys=True) for item in made[side]}

    def tools(side: str) -> set[str]:
        return {t["function"]["name"] for item in made[side] for t in item.tools}

    assert not prompts("train") & prompts("eval")
    assert len(tools("train")) > 1000
    assert not tools("train") & tools("eval")


def test_no_value_that_a_call_holds_is_in_calls_of_the_other_side(
    made: dict[str, list[Any]],
) -> None:
    def held(side: str) -> set[str]:
        calls = [c for item in made[side] for c in item.check.get("calls", [])]
        texts = [v for c in calls for v in c["arguments"].values() if isinstance(v, str)]
        # Times, sums and single words of an enumeration are too few to be divided.
        return {text for text in texts if re.search(r"[A-Za-z]{3}.*[ /@].*[a-z]{2}", text)}

    shared = held("train") & held("eval")
    months = "January|February|March|April|May|June|July|August|September|October|November|December"
    dates = re.compile(rf".*({months}).*|(next )?[A-Z][a-z]+day|tomorrow|today")
    assert len(held("eval")) > 200
    assert not {text for text in shared if not dates.fullmatch(text)}


def test_real_sentences_are_divided_by_module(programs: Programs) -> None:
    reading = programs("data.reading_items")
    train, held = (
        {sentence for paragraph in reading._real(side) for sentence in paragraph}
        for side in ("train", "eval")
    )
    assert len(train) > 2000
    assert len(held) > 200
    assert not train & held


def test_the_hand_written_questions_rest_on_nothing_that_was_trained_on(
    programs: Programs,
) -> None:
    file = ROOT / "tests" / "data" / "builtin" / "questions.jsonl"
    entries = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    held = " ".join(" ".join(passage.split()) for e in entries for passage in e["passages"])
    trained = [s for p in programs("data.reading_items")._real("train") for s in p]
    assert not [sentence for sentence in trained if len(sentence) > 40 and sentence in held]


def test_equal_seeds_give_equal_examples_and_others_do_not(programs: Programs) -> None:
    examples = programs("data.mixture").examples

    def first(seed: str) -> list[Any]:
        return [(i.messages, i.reply, i.tools) for i in itertools.islice(examples(seed), 50)]

    assert first("a") == first("a")
    assert first("a") != first("b")


def test_what_is_to_be_copied_stands_in_the_prompt(made: dict[str, list[Any]]) -> None:
    """A call's texts and an answer's sentence can be copied: nothing is asked that is not there."""
    for item in made["train"]:
        prompt = json.dumps(item.messages, ensure_ascii=False)
        if item.kind == "call":
            for value in item.check["calls"][0]["arguments"].values():
                if isinstance(value, str):
                    assert json.dumps(value, ensure_ascii=False)[1:-1] in prompt
        if item.kind in ("facts", "real") and item.reply != "The documents do not say.":
            sentence, _, number = item.reply.rpartition(" [")
            passage = next(
                line
                for line in item.messages[-1]["content"].splitlines()
                if line.startswith(f"[{number[:-1]}] ")
            )
            assert sentence in passage


def test_prompts_are_those_that_nearfar_sends(
    programs: Programs, made: dict[str, list[Any]]
) -> None:
    """The same tokens as LocalChatModel makes of the same messages and tools."""
    from nearfar.llm.local.catalog import LocalModelInfo
    from nearfar.llm.local.dialects import detect
    from nearfar.llm.local.model_text import ModelText
    from nearfar.llm.local.templates import load_template
    from nearfar.llm.local.tokenizer import TextTokenizer

    asset = CHAT / "asset"
    tokenizer = TextTokenizer(asset)
    template = load_template(asset, tokenizer.special_ids)
    dialect = detect(template.text, tokenizer.special_ids, "hermes")
    info = LocalModelInfo("", asset, "qwen2", 2048, 2048, 0, schema_prompt="")
    text = ModelText(info, tokenizer, template, dialect)
    side, messages_of = programs("text_side").TextSide(), programs("abilities").messages_of
    for item in made["eval"][:300]:
        assert text.prompt(messages_of(item), item.tools) == tuple(
            side.tokenizer.encode(side.prompt(item)).ids
        )
        if not isinstance(item.reply, str):
            said = dialect.parse(side.reply(item).removesuffix("<|im_end|>"))
            assert [(c.name, c.args) for c in said.calls] == [
                (call["name"], call["arguments"]) for call in item.reply
            ]


def test_a_shard_is_packed_without_cutting_and_comes_out_the_same_twice(
    programs: Programs,
) -> None:
    pack = programs("pack")
    first, second = (pack.shard(7, 256, 20_000) for _ in range(2))
    assert all((first[key] == second[key]).all() for key in first)
    assert first["ids"].shape == (78, 256)
    assert (first["documents"] > 0).mean() > 0.85
    end = 2
    for ids, documents in zip(first["ids"], first["documents"], strict=True):
        last = documents.max()
        for number in range(1, last + 1):
            assert ids[documents == number][-1] == end
