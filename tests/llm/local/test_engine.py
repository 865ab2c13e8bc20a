"""The engine generates what it was asked for and says truly how."""

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nearfar.errors import ContextWindowError, GrammarError, InvalidParameterError
from nearfar.llm.local.engine import Engine, EngineOptions, Finish, GenerationRequest, TextChunk
from nearfar.llm.local.worker.decoding import TokenText

from .engine_kit import CPU, FRUIT, open_engine, request, result


@pytest.fixture(scope="module")
def engine(random_model: Path) -> Iterator[Engine]:
    with open_engine(random_model) as engine:
        yield engine


@pytest.fixture(scope="module")
def text(random_model: Path) -> TokenText:
    return TokenText((random_model / "tokenizer.json").read_text(encoding="utf-8"), {2})


def test_the_stream_is_the_decoding_of_its_tokens(engine: Engine, text: TokenText) -> None:
    for seed in range(20):
        streamed, ids, finish = result(
            engine.generate(request(max_tokens=80, temperature=1.5, seed=seed))
        )
        assert streamed == text.decode(ids)
        assert finish.usage.completion_tokens == len(ids)


def test_usage_and_timings_are_those_of_the_request(engine: Engine) -> None:
    _, ids, finish = result(engine.generate(request(33, 12, start=99)))
    assert (finish.reason, finish.stop_string) == ("length", None)
    assert (finish.usage.prompt_tokens, finish.usage.completion_tokens) == (33, 12)
    assert len(ids) == 12
    timings = finish.timings
    assert 0 <= timings.queue_s <= timings.first_token_s
    assert 0 < timings.prefill_s <= timings.first_token_s
    assert timings.decode_s > 0


def test_greedy_and_seeded_requests_repeat_and_seeds_vary(engine: Engine) -> None:
    def tokens(**values: Any) -> list[int]:
        return result(engine.generate(request(max_tokens=30, **values)))[1]

    assert tokens() == tokens()
    assert tokens(temperature=1, seed=1) == tokens(temperature=1, seed=1)
    assert tokens(temperature=1, seed=1) != tokens(temperature=1, seed=2)
    assert tokens(repetition_penalty=5.0) != tokens()


def test_sync_and_async_streams_are_equal(engine: Engine) -> None:
    asked = request(max_tokens=30, temperature=1, seed=4)

    async def collect() -> list[Any]:
        return [item async for item in engine.agenerate(asked)]

    for _ in range(2):  # successive event loops
        *chunks, finish = asyncio.run(collect())
        assert isinstance(finish, Finish)
        assert "".join(chunk.text for chunk in chunks) == result(engine.generate(asked))[0]


def test_many_threads_get_their_own_streams(engine: Engine) -> None:
    asked = [request(max_tokens=25, start=10 + 3 * number) for number in range(8)]
    alone = [result(engine.generate(one))[1] for one in asked]
    together: dict[int, list[int]] = {}

    def run(number: int) -> None:
        together[number] = result(engine.generate(asked[number]))[1]

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [together[number] for number in range(8)] == alone


def test_a_grammar_is_followed_at_any_temperature(engine: Engine) -> None:
    seen = set()
    for seed in range(30):
        asked = request(max_tokens=40, temperature=3.0, seed=seed, grammar=FRUIT)
        answer, _, finish = result(engine.generate(asked))
        assert finish.reason == "stop"
        seen.add(answer)
    assert seen == {"[apple]", "[pear]", "[plum]"}


def test_a_grammar_cut_by_max_tokens_finishes_with_length(engine: Engine) -> None:
    answer, ids, finish = result(engine.generate(request(max_tokens=1, grammar=FRUIT)))
    assert finish.reason == "length"
    assert len(ids) == 1
    assert any(fruit.startswith(answer) for fruit in ("[apple]", "[pear]", "[plum]"))


def test_what_is_no_grammar_is_refused_and_the_engine_goes_on(engine: Engine) -> None:
    with pytest.raises(GrammarError):
        list(engine.generate(request(grammar="start: (")))
    assert result(engine.generate(request()))[2].reason == "length"


def test_a_stop_string_ends_the_text_wherever_tokens_part(engine: Engine) -> None:
    whole, _, _ = result(engine.generate(request(max_tokens=120)))
    for start in range(0, len(whole) - 6, 5):
        stop = whole[start : start + 5]
        cut, _, finish = result(engine.generate(request(max_tokens=120, stop=("\x00never", stop))))
        assert cut == whole[: whole.index(stop)]
        assert (finish.reason, finish.stop_string) == ("stop", stop)


def test_a_stop_string_that_never_comes_loses_nothing(engine: Engine) -> None:
    whole, _, _ = result(engine.generate(request(max_tokens=60)))
    beginning = whole[-3:] + "\x00"
    same, _, finish = result(engine.generate(request(max_tokens=60, stop=(beginning,))))
    assert same == whole
    assert finish.reason == "length"


def test_the_end_token_ends_the_reply_and_is_no_text(engine: Engine) -> None:
    asked = request(max_tokens=50, grammar='start: "ab" "c"?', visible_special=(2,))
    for seed in range(10):
        asked = request(
            max_tokens=50, grammar='start: "ab" "c"?', temperature=5.0, seed=seed,
            visible_special=(2,),
        )  # fmt: skip
        answer, _, finish = result(engine.generate(asked))
        assert answer in ("ab", "abc")
        assert finish.reason == "stop"


def test_special_tokens_are_text_only_where_asked(tiny_model: Path) -> None:
    grammar = 'start: <tool_call> "x" </tool_call>'
    with open_engine(tiny_model) as engine:
        hidden, ids, _ = result(engine.generate(request(grammar=grammar)))
        shown, same, _ = result(engine.generate(request(grammar=grammar, visible_special=(3, 4))))
    assert (hidden, shown) == ("x", "<tool_call>x</tool_call>")
    assert ids == same
    assert (ids[0], ids[-1]) == (3, 4)


def test_a_prompt_that_does_not_fit_is_refused_with_both_numbers(engine: Engine) -> None:
    window = engine.info().usable_window
    before = engine.stats().generated_tokens
    for length in (window, window + 1):
        with pytest.raises(ContextWindowError) as caught:
            list(engine.generate(request(length)))
        assert caught.value.data == {"prompt_tokens": length, "window": window}
    assert engine.stats().generated_tokens == before


def test_max_tokens_is_lowered_to_what_the_window_leaves(engine: Engine) -> None:
    window = engine.info().usable_window
    for room in (1, 5):
        _, ids, finish = result(engine.generate(request(window - room, 500)))
        assert (len(ids), finish.reason) == (room, "length")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", -0.1), ("temperature", float("nan")), ("top_p", 0), ("top_p", 1.1),
        ("top_k", -1), ("repetition_penalty", 0), ("max_tokens", 0), ("stop", ("",)),
        ("prompt_ids", ()),
    ],
)  # fmt: skip
def test_parameters_out_of_range_are_named(name: str, value: Any) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        GenerationRequest(**{"prompt_ids": (1,), "max_tokens": 5, name: value})
    assert caught.value.data["parameter"] == name


def test_a_token_that_the_model_lacks_is_refused(engine: Engine) -> None:
    for token in (-1, engine.info().vocab_size):
        with pytest.raises(InvalidParameterError, match="does not have"):
            list(engine.generate(GenerationRequest((token,), 5)))


@pytest.mark.parametrize(
    ("name", "value"), [("execution_providers", ("npu",)), ("execution_providers", ()),
                        ("max_active", 0), ("hang_s", 0), ("cache_mb", -1), ("threads", 0)],
)  # fmt: skip
def test_options_out_of_range_are_named(name: str, value: Any) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        EngineOptions(Path(), **{name: value})
    assert caught.value.data["parameter"] == name


def test_info_says_what_runs_and_why_not_the_rest(random_model: Path) -> None:
    with open_engine(random_model, execution_providers=("qnn", "cuda", "cpu")) as engine:
        info = engine.info()
    assert info.provider == "cpu"
    assert [item.provider for item in info.passed_over] == ["qnn", "cuda"]
    assert all(item.reason for item in info.passed_over)
    config = json.loads((random_model / "genai_config.json").read_text())
    assert info.context_length == config["model"]["context_length"]
    assert info.eos_token_ids == (2,)
    assert {"onnxruntime", "onnxruntime_genai", "tokenizers", "llguidance"} <= set(info.versions)
    assert info.pid > 0
    assert info.rss_bytes > 10_000_000


async def test_ainfo_is_info(engine: Engine) -> None:
    assert (await engine.ainfo()).pid == engine.info().pid


def test_equal_options_share_an_engine_and_others_do_not(random_model: Path) -> None:
    options = EngineOptions(random_model, execution_providers=CPU)
    same = EngineOptions(random_model / "." / ".." / random_model.name, execution_providers=CPU)
    assert Engine.shared(options) is Engine.shared(same)
    assert Engine.shared(options) is not Engine.shared(EngineOptions(random_model, max_active=1))


def test_threads_and_a_narrow_cache_change_no_greedy_token(
    engine: Engine, random_model: Path
) -> None:
    asked = request(300, 20)
    with open_engine(random_model, threads=1, cache_mb=0) as other:
        assert result(other.generate(asked))[1] == result(engine.generate(asked))[1]


def test_chunks_are_text_then_one_finish(engine: Engine) -> None:
    items = list(engine.generate(request(max_tokens=20)))
    assert [type(item) for item in items] == [TextChunk] * (len(items) - 1) + [Finish]
    assert all(item.text for item in items[:-2] if isinstance(item, TextChunk))
