"""The random-weight model maker, against the real engine library."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tokenizers import Tokenizer

from nearfar.errors import MissingPackageError
from nearfar.testing.models import make_random_model

PROMPT = list(range(10, 45))


def logits_after(
    model: Any, *slices: Sequence[int], generate: int = 0
) -> tuple[NDArray[np.float32], list[int]]:
    """The logits after the slices, and the tokens that follow greedily."""
    import onnxruntime_genai as og

    params = og.GeneratorParams(model)
    params.set_search_options(max_length=256, do_sample=False)
    generator = og.Generator(model, params)
    for part in slices:
        generator.append_tokens(np.array([part], np.int32))
    logits = np.array(generator.get_logits()).reshape(-1).copy()
    tokens = []
    for _ in range(generate):
        generator.generate_next_token()
        tokens.append(int(generator.get_next_tokens()[0]))
    return logits, tokens


def load(folder: Path) -> Any:
    import onnxruntime_genai as og

    return og.Model(str(folder))


@pytest.mark.parametrize("prune_lm_head", [False, True])
@pytest.mark.parametrize("quantization", [None, "int8", "int4"])
def test_prefill_is_the_same_at_once_in_slices_and_token_by_token(
    tmp_path: Path, quantization: Any, prune_lm_head: bool
) -> None:
    model = load(
        make_random_model(tmp_path, quantization=quantization, prune_lm_head=prune_lm_head)
    )
    whole, _ = logits_after(model, PROMPT)
    sliced, _ = logits_after(model, PROMPT[:7], PROMPT[7:9], PROMPT[9:])
    single, _ = logits_after(model, *([token] for token in PROMPT))
    assert whole.shape == (512,)
    np.testing.assert_allclose(sliced, whole, atol=1e-3)
    np.testing.assert_allclose(single, whole, atol=1e-3)


def test_rewinding_gives_what_a_fresh_generator_gives(tmp_path: Path) -> None:
    import onnxruntime_genai as og

    model = load(make_random_model(tmp_path))
    fresh, _ = logits_after(model, PROMPT[:20], PROMPT[25:])
    params = og.GeneratorParams(model)
    params.set_search_options(max_length=256, do_sample=False)
    generator = og.Generator(model, params)
    generator.append_tokens(np.array([PROMPT], np.int32))
    generator.rewind_to(20)
    generator.append_tokens(np.array([PROMPT[25:]], np.int32))
    rewound = np.array(generator.get_logits()).reshape(-1)
    np.testing.assert_allclose(rewound, fresh, atol=1e-3)


def test_the_same_seed_writes_the_same_bytes_and_another_seed_another_model(
    tmp_path: Path,
) -> None:
    first, again, other = (
        {
            path.name: path.read_bytes()
            for path in make_random_model(tmp_path / name, seed=seed, quantization="int4").iterdir()
        }
        for name, seed in (("first", 5), ("again", 5), ("other", 6))
    )
    assert first == again
    assert first["model.onnx.data"] != other["model.onnx.data"]
    assert first["tokenizer.json"] == other["tokenizer.json"]


def test_writing_over_a_model_replaces_it(tmp_path: Path) -> None:
    make_random_model(tmp_path, seed=1)
    size = (tmp_path / "model.onnx.data").stat().st_size
    make_random_model(tmp_path, seed=2)
    assert (tmp_path / "model.onnx.data").stat().st_size == size


def test_an_early_word_of_the_prompt_changes_what_follows(tmp_path: Path) -> None:
    model = load(make_random_model(tmp_path))
    replies = {tuple(logits_after(model, [n, *PROMPT], generate=16)[1]) for n in range(300, 310)}
    assert len(replies) == 10


def test_different_seeds_answer_differently(tmp_path: Path) -> None:
    replies = {
        tuple(
            logits_after(load(make_random_model(tmp_path / str(n), seed=n)), PROMPT, generate=8)[1]
        )
        for n in range(4)
    }
    assert len(replies) == 4


@pytest.mark.parametrize("vocab_size", [261, 512, 32_000])
def test_the_tokenizer_is_exact_for_any_text(tmp_path: Path, vocab_size: int) -> None:
    make_random_model(tmp_path, vocab_size=vocab_size, layers=1, hidden=32)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert tokenizer.get_vocab_size() == vocab_size
    for text in ("The 12 quick foxes' café, naïve.\n\n\tx = {'a': 1}", "\0\x01 é 👩‍👩‍👧 e\u0301"):
        assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_digits_stand_alone_and_special_tokens_are_one_token_each(tmp_path: Path) -> None:
    make_random_model(tmp_path)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert len(tokenizer.encode("20451").ids) == 5
    special = "<|endoftext|><|im_start|><|im_end|><tool_call></tool_call>"
    assert tokenizer.encode(special).ids == [0, 1, 2, 3, 4]


def test_another_models_tokenizer_can_be_used(tmp_path: Path) -> None:
    first = make_random_model(tmp_path / "a", vocab_size=300)
    second = make_random_model(tmp_path / "b", tokenizer=first, vocab_size=261)
    assert (second / "tokenizer.json").read_bytes() == (first / "tokenizer.json").read_bytes()
    config = json.loads((second / "genai_config.json").read_text())
    assert config["model"]["vocab_size"] == 300
    assert config["model"]["eos_token_id"] == 2
    assert logits_after(load(second), PROMPT)[0].shape == (300,)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"vocab_size": 260}, "vocab_size must be at least 261"),
        ({"hidden": 66}, "multiple of heads"),
        ({"hidden": 48, "heads": 4}, "multiple of 8"),
        ({"hidden": 80, "heads": 2, "quantization": "int4"}, "multiples of 32"),
    ],
)
def test_sizes_that_do_not_go_together_are_refused(
    tmp_path: Path, sizes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make_random_model(tmp_path, **sizes)


def test_without_the_onnx_package_the_error_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingPackageError) as caught:
        make_random_model(tmp_path)
    assert caught.value.data == {"package": "onnx"}
    assert "nearfar[testing]" in caught.value.remedy
