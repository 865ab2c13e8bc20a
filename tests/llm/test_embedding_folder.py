"""Folders of other embedding models, whole and broken."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from nearfar.errors import ModelLoadError, ModelNotFoundError
from nearfar.llm.embedding_folder import BUILTIN, EmbeddingFolder
from nearfar.llm.embeddings import LocalEmbeddings

WORDS = {"[UNK]": 0, "[PAD]": 1, "red": 2, "green": 3, "blue": 4}
TABLE = np.array([[9, 9], [5, 5], [1, 0], [0, 1], [1, 1]], np.float32)


def make_folder(
    folder: Path,
    facts: dict[str, Any] | None = None,
    *,
    inputs: tuple[str, ...] = ("input_ids",),
    kind: int = TensorProto.INT64,
    pooled: bool = False,
) -> Path:
    """A model that looks words up in TABLE; ``pooled``: and adds them."""
    folder.mkdir(parents=True)
    nodes = [helper.make_node("Gather", ["table", "input_ids"], ["tokens"])]
    if pooled:
        nodes.append(helper.make_node("ReduceSum", ["tokens", "axis"], ["text"], keepdims=0))
    graph = helper.make_graph(
        nodes,
        "table",
        [helper.make_tensor_value_info(name, kind, ["b", "s"]) for name in inputs],
        [
            helper.make_tensor_value_info("text", TensorProto.FLOAT, ["b", 2])
            if pooled
            else helper.make_tensor_value_info("tokens", TensorProto.FLOAT, ["b", "s", 2])
        ],
        [
            numpy_helper.from_array(TABLE, "table"),
            numpy_helper.from_array(np.array([1], np.int64), "axis"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    tokenizer = Tokenizer(WordLevel(WORDS, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    if facts is not None:
        (folder / "nearfar.json").write_text(json.dumps({"name": "table", **facts}), "utf-8")
    return folder


def embed(folder: Path, text: str = "red red green") -> list[float]:
    return [round(value, 4) for value in LocalEmbeddings(folder).embed_query(text)]


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"pooling": "mean", "normalize": False}, [0.6667, 0.3333]),
        ({"pooling": "cls", "normalize": False}, [1.0, 0.0]),
        ({"pooling": "last", "normalize": False}, [0.0, 1.0]),
        ({"pooling": "mean"}, [0.8944, 0.4472]),
        ({"query_prefix": "blue blue ", "normalize": False}, [0.8, 0.6]),
    ],
)
def test_the_folder_says_how_token_vectors_become_one(
    tmp_path: Path, facts: dict[str, Any], expected: list[float]
) -> None:
    assert embed(make_folder(tmp_path / "m", facts)) == expected


def test_padding_does_not_count(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "m", {"normalize": False})
    vectors = LocalEmbeddings(folder).embed_array(["red", "green blue red"])
    assert np.allclose(vectors, np.array([[1, 0], [2 / 3, 2 / 3]]))


def test_inputs_may_be_32_bit_and_fewer_or_more(tmp_path: Path) -> None:
    names = ("input_ids", "attention_mask", "position_ids")
    folder = make_folder(tmp_path / "m", {}, inputs=names, kind=TensorProto.INT32)
    assert embed(folder, "green") == [0.0, 1.0]


def test_an_output_that_is_one_vector_is_taken_as_it_is(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "m", {"pooling": "none", "normalize": False}, pooled=True)
    assert embed(folder, "red green blue") == [2.0, 2.0]


def test_files_of_sentence_transformers_are_understood(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "größe")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling/config.json").write_text('{"pooling_mode_cls_token": true}')
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 8}')
    (folder / "onnx").mkdir()
    (folder / "model.onnx").rename(folder / "onnx/model.onnx")
    facts = EmbeddingFolder(folder).facts
    assert (facts.name, facts.pooling, facts.max_tokens) == ("größe", "cls", 8)
    assert LocalEmbeddings(folder).max_tokens == 8
    assert embed(folder) == [1.0, 0.0]


def test_the_fingerprint_follows_content_and_not_place_or_name(tmp_path: Path) -> None:
    first = make_folder(tmp_path / "a", {})
    assert LocalEmbeddings(make_folder(tmp_path / "b", {"name": "other"})).fingerprint == (
        LocalEmbeddings(first).fingerprint
    )
    others = [
        LocalEmbeddings(make_folder(tmp_path / "c", {"pooling": "cls"})),
        LocalEmbeddings(make_folder(tmp_path / "d", {"max_tokens": 9})),
        LocalEmbeddings(make_folder(tmp_path / "e", {}, inputs=("input_ids", "token_type_ids"))),
        LocalEmbeddings(),
    ]
    assert len({LocalEmbeddings(first).fingerprint, *(o.fingerprint for o in others)}) == 5


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="no folder") as caught:
        LocalEmbeddings(tmp_path / "nowhere")
    assert caught.value.data["name"] == str(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("model.onnx", None, "model.onnx is missing"),
        ("tokenizer.json", None, "tokenizer.json is missing"),
        ("nearfar.json", b"{", "nearfar.json cannot be read"),
        ("nearfar.json", b"[]", "not a JSON object"),
        ("nearfar.json", b'{"pooling": "sum"}', "nearfar.json: pooling:"),
        ("nearfar.json", b'{"output": "none"}', "no output 'none'"),
        ("nearfar.json", b'{"pooling": "none"}', "a vector for each token"),
        ("model.onnx", b"not a model", "does not load its model"),
        ("model.onnx", b"", "does not load its model"),
        ("tokenizer.json", b"{}", "is not a tokenizer"),
    ],
)
def test_a_broken_folder_is_an_error_that_says_what_is_wrong(
    tmp_path: Path, file: str, content: bytes | None, message: str
) -> None:
    folder = make_folder(tmp_path / "m", {})
    (folder / file).unlink()
    if content is not None:
        (folder / file).write_bytes(content)
    with pytest.raises(ModelLoadError, match=message) as caught:
        LocalEmbeddings(folder).embed_query("red")
    assert caught.value.data == {"folder": str(folder)}


def test_an_input_that_is_not_known_is_named(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "m", {}, inputs=("input_ids", "pixels"))
    with pytest.raises(ModelLoadError, match=r"\['pixels'\]"):
        LocalEmbeddings(folder).embed_query("red")


def test_a_damaged_copy_of_the_builtin_model_does_not_load(tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(BUILTIN, folder)
    with (folder / "model.onnx").open("r+b") as file:
        file.truncate(1_000_000)
    with pytest.raises(ModelLoadError):
        LocalEmbeddings(folder).embed_query("red")
