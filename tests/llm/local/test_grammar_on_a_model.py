"""The proof on a real model: one with random weights is forced to call tools, and always does."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from nearfar.llm.local.dialects import Dialect, ToolSpec, detect
from nearfar.llm.local.engine import Engine, EngineOptions, Finish, GenerationRequest, TextChunk
from nearfar.llm.local.grammar import tools_grammar
from nearfar.llm.local.tokenizer import TextTokenizer
from nearfar.testing.models import make_random_model

from .grammar_schemas import MODELS, SCHEMAS, shown, to_show, validator

FORCED = "without kind"  # a union's tag is always there, also where it has a default


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some 300,000 parameters."""
    return make_random_model(
        tmp_path_factory.mktemp("random"), layers=2, hidden=128, scale=1.2, seed=5
    )


@pytest.fixture(scope="module")
def engine(folder: Path) -> Iterator[Engine]:
    opened = Engine(EngineOptions(folder, execution_providers=("cpu",)))
    yield opened
    opened.close()


class Caller:
    """Asks the model for one call by a schema."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.engine = engine
        self.tokenizer = TextTokenizer(folder)
        template = (folder / "chat_template.jinja").read_text(encoding="utf-8")
        self.dialect: Dialect = detect(template, self.tokenizer.special_ids)
        ids = self.tokenizer.special_ids
        marks = (self.dialect.opener, self.dialect.closer)
        self.visible = tuple(ids[mark] for mark in marks if mark in ids)

    def text(self, schema_name: str, prompt: str, seed: int) -> str:
        tool = ToolSpec("f", "", SCHEMAS[schema_name])
        request = GenerationRequest(
            tuple(self.tokenizer.encode(prompt)),
            max_tokens=1900,
            temperature=2.0,
            seed=seed,
            grammar=tools_grammar([tool], self.dialect, choice="f"),
            visible_special=self.visible,
        )
        *chunks, finish = list(self.engine.generate(request))
        assert isinstance(finish, Finish)
        assert finish.reason == "stop"
        return "".join(chunk.text for chunk in chunks if isinstance(chunk, TextChunk))


def prove(caller: Caller, calls_per_schema: int) -> dict[str, set[str]]:
    """Make the calls, check each, and return what no call has shown, by schema."""
    missing: dict[str, set[str]] = defaultdict(set)
    for name, schema in SCHEMAS.items():
        check = validator(schema)
        missing[name] = {fact for fact in to_show(schema) if not fact.endswith(FORCED)}
        texts = set()
        for number in range(calls_per_schema):
            text = caller.text(name, f"Request {number % 25}: call f.", seed=number)
            parsed = caller.dialect.parse(text)
            assert [call.name for call in parsed.calls] == ["f"], text
            assert (parsed.text, parsed.invalid_calls) == ("", ())
            check.validate(parsed.calls[0].args)
            if name in MODELS:
                MODELS[name].validate_python(parsed.calls[0].args)
            missing[name] -= shown(schema, parsed.calls[0].args)
            texts.add(text)
        assert len(texts) > calls_per_schema // 3 or not to_show(schema), name
    return missing


def test_every_forced_call_of_a_random_model_parses_and_validates(
    engine: Engine, folder: Path
) -> None:
    """100 calls; the long variant makes all 1,000."""
    prove(Caller(engine, folder), 5)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_thousand_forced_calls_show_every_enum_value_and_optional_field(
    engine: Engine, folder: Path
) -> None:
    """1,000 calls over 20 schemas: all valid, and together they show all of each schema.

    Which tokens come out hangs on the machine's arithmetic, so what chance left out gets a few
    calls more.
    """
    caller = Caller(engine, folder)
    missing = prove(caller, 50)
    assert sum(map(len, missing.values())) < 20
    for name, facts in missing.items():
        for seed in range(50, 250):
            if facts:
                text = caller.text(name, f"Request {seed % 25}: call f.", seed)
                args = caller.dialect.parse(text).calls[0].args
                facts.difference_update(shown(SCHEMAS[name], args))
    assert not {name: facts for name, facts in missing.items() if facts}


def test_calls_vary_with_prompt_and_with_seed(engine: Engine, folder: Path) -> None:
    caller = Caller(engine, folder)
    by_seed = {caller.text("enums", "Call f.", seed) for seed in range(6)}
    by_prompt = {caller.text("numbers", "Call f for " + "me and you " * n, 1) for n in range(6)}
    assert len(by_seed) > 3
    assert len(by_prompt) > 3
    assert caller.text("numbers", "Call f.", 3) == caller.text("numbers", "Call f.", 3)
