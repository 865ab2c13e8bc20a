"""What the embedding model on this machine does with texts, good and bad."""

import asyncio
import hashlib
import json
import pickle
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.embeddings import Embeddings
from langchain_tests.integration_tests import EmbeddingsIntegrationTests
from langchain_tests.unit_tests import EmbeddingsUnitTests

import nearfar
from nearfar.errors import InvalidParameterError, ModelNotFoundError, UnsupportedInputError
from nearfar.llm.embedding_folder import BUILTIN
from nearfar.llm.embeddings import LocalEmbeddings
from nearfar.settings import Settings

REFERENCE = Path(__file__).parents[1] / "data/embeddings/all-minilm-l6-v2.npz"


class TestStandardUnit(EmbeddingsUnitTests):
    @property
    def embeddings_class(self) -> type[Embeddings]:
        return LocalEmbeddings


class TestStandardIntegration(EmbeddingsIntegrationTests):
    @property
    def embeddings_class(self) -> type[Embeddings]:
        return LocalEmbeddings


@pytest.fixture(scope="module")
def model() -> LocalEmbeddings:
    return LocalEmbeddings()


@pytest.fixture(scope="module")
def texts() -> list[str]:
    with np.load(REFERENCE, allow_pickle=False) as arrays:
        read: list[str] = json.loads(arrays["texts"].tobytes())
    return read


def test_500_texts_are_close_to_their_float32_vectors(
    model: LocalEmbeddings, texts: list[str]
) -> None:
    with np.load(REFERENCE, allow_pickle=False) as arrays:
        reference = arrays["vectors"].astype(np.float32)
    cosines = np.sum(model.embed_array(texts) * reference, axis=1)
    assert len(cosines) == 500
    assert cosines.min() >= 0.98


def test_paraphrases_are_closer_than_unrelated_sentences(model: LocalEmbeddings) -> None:
    asked, like, unlike = model.embed_array(
        ["How do I cancel my subscription?", "ending a paid membership", "the height of Mont Blanc"]
    )
    assert asked @ like > asked @ unlike + 0.3


def test_vectors_have_length_1_and_384_numbers(model: LocalEmbeddings) -> None:
    vectors = model.embed_array(["one", "two words", ""])
    assert vectors.shape == (3, model.dimensions) == (3, 384)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_order_is_kept_whatever_the_lengths_and_batches(texts: list[str]) -> None:
    sample = [*texts[:12], *texts[40:60]]
    together = LocalEmbeddings(batch_size=7).embed_array(sample)
    alone = np.stack([LocalEmbeddings().embed_array([text])[0] for text in sample[:6]])
    assert np.allclose(together, LocalEmbeddings(batch_size=64).embed_array(sample), atol=1e-4)
    assert np.allclose(together[:6], alone, atol=1e-4)


def test_a_question_and_a_document_of_the_same_words_are_the_same(model: LocalEmbeddings) -> None:
    assert np.allclose(model.embed_query("a b c"), model.embed_documents(["a b c"])[0], atol=1e-5)


def test_no_texts_give_no_vectors(model: LocalEmbeddings) -> None:
    assert model.embed_documents([]) == []
    assert model.embed_array([]).shape == (0, 384)


@pytest.mark.parametrize(
    "text", ["", " \n\t", "\x00", "a\x00b", "\ud800 half a pair", "🙂", "[CLS][SEP]", "x" * 5000]
)
def test_odd_texts_have_finite_vectors(model: LocalEmbeddings, text: str) -> None:
    vector = model.embed_query(text)
    assert np.isfinite(vector).all()
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-4)


def test_what_follows_a_nul_counts(model: LocalEmbeddings) -> None:
    cut, whole = model.embed_array(["one", "one\x00two three four"])
    assert cut @ whole < 0.95


def test_a_text_counts_up_to_256_tokens_and_no_further(model: LocalEmbeddings) -> None:
    words = "alpha beta gamma delta epsilon " * 60
    assert model.count_tokens(words) > model.max_tokens == 254
    end = model.token_offsets(words)[model.max_tokens - 1][1]
    assert model.embed_query(words) == model.embed_query(words[:end] + " something else entirely")
    assert model.embed_query(words) != model.embed_query(words[: end // 2])


def test_a_huge_text_takes_little_time_and_equals_its_beginning(model: LocalEmbeddings) -> None:
    start = "The quick brown fox jumps over the lazy dog. " * 400
    begun = time.process_time()
    vector = model.embed_query(start * 400)  # 7 million characters
    assert time.process_time() - begun < 2
    assert np.allclose(vector, model.embed_query(start), atol=1e-5)


def test_blank_space_before_a_text_does_not_hide_it(model: LocalEmbeddings) -> None:
    padded = " " * 100_000 + "where is the lighthouse?"
    assert np.allclose(
        model.embed_query(padded), model.embed_query("where is the lighthouse?"), atol=1e-5
    )


def test_offsets_are_characters_of_the_text(model: LocalEmbeddings) -> None:
    text = "naïve façade 🙂 x_1"
    pieces = [text[start:end] for start, end in model.token_offsets(text)]
    assert pieces == ["naïve", "façade", "🙂", "x", "_", "1"]
    assert model.count_tokens(text) == 6
    assert model.count_tokens("") == 0


async def test_the_event_loop_runs_on_while_texts_are_embedded(
    model: LocalEmbeddings, texts: list[str]
) -> None:
    model.embed_query("load")
    gaps: list[float] = []

    async def tick() -> None:
        while True:
            begun = time.perf_counter()
            await asyncio.sleep(0.001)
            gaps.append(time.perf_counter() - begun)

    ticking = asyncio.create_task(tick())
    vectors = await model.aembed_documents(texts[100:200])
    ticking.cancel()
    assert len(vectors) == 100
    assert len(gaps) > 20
    assert sorted(gaps)[len(gaps) // 2] < 0.05


async def test_a_cancelled_call_stops_after_its_batch(
    model: LocalEmbeddings, texts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = model._encoder()
    run, batches = encoder.run, threading.Semaphore(0)

    def counted(encodings: Any) -> Any:
        batches.release()
        return run(encodings)

    monkeypatch.setattr(encoder, "run", counted)
    task = asyncio.create_task(model.aembed_documents(texts * 4))
    await asyncio.to_thread(batches.acquire)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    done = 1
    while batches.acquire(timeout=0.5):
        done += 1
    assert done < 10 < len(texts) * 4 / model.batch_size


def test_threads_may_share_a_model(texts: list[str]) -> None:
    shared = LocalEmbeddings()
    sample = texts[40:60]
    expected = LocalEmbeddings().embed_array(sample)
    with ThreadPoolExecutor(4) as pool:
        for vectors in pool.map(lambda _: shared.embed_array(sample), range(8)):
            assert np.allclose(vectors, expected, atol=1e-4)


def test_a_pickled_copy_embeds_alike(model: LocalEmbeddings) -> None:
    copy = pickle.loads(pickle.dumps(model))  # noqa: S301 - our own bytes
    assert repr(copy) == repr(model) == "nearfar.LocalEmbeddings('builtin')"
    assert copy.embed_query("hello") == model.embed_query("hello")


def test_nothing_heavy_is_loaded_before_the_first_text_and_vendor_telemetry_is_off() -> None:
    script = """
import os, sys
from nearfar.llm.embeddings import LocalEmbeddings
model = LocalEmbeddings()
model.fingerprint
assert not {"onnxruntime", "tokenizers", "numpy"} & set(sys.modules), sys.modules.keys()
model.embed_query("x")
assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"
assert "torch" not in sys.modules and "transformers" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_what_is_not_text_is_refused_by_its_type(model: LocalEmbeddings) -> None:
    with pytest.raises(UnsupportedInputError, match="not bytes") as caught:
        model.embed_documents([b"bytes"])  # type: ignore[list-item]
    assert caught.value.data == {"type": "bytes"}


@pytest.mark.parametrize("options", [{"batch_size": 0}, {"threads": 0}])
def test_numbers_below_1_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameterError, match="must be 1 or more"):
        LocalEmbeddings(**options)


def test_settings_name_embedding_models() -> None:
    settings = Settings.model_validate({"embeddings": {"small": {"batch_size": 3}}})
    named = nearfar.embeddings("small", settings=settings)
    assert isinstance(named, LocalEmbeddings)
    assert named.batch_size == 3
    assert isinstance(nearfar.embeddings(), LocalEmbeddings)
    assert nearfar.embeddings(str(BUILTIN)).embed_query("a") == named.embed_query("a")
    with pytest.raises(ModelNotFoundError) as caught:
        nearfar.embeddings("none", settings=settings)
    assert caught.value.data == {"name": "none", "known": ["builtin", "small"]}


def test_the_folder_that_is_shipped_is_what_the_export_wrote() -> None:
    facts = json.loads((BUILTIN / "nearfar.json").read_text("utf-8"))
    for name, sha256 in facts["sha256"].items():
        assert hashlib.sha256((BUILTIN / name).read_bytes()).hexdigest() == sha256
    assert sum(file.stat().st_size for file in BUILTIN.iterdir()) < 25e6
    assert {"LICENSE", "NOTICE", "README.md"} <= {file.name for file in BUILTIN.iterdir()}
