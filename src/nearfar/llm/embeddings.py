"""Embeddings on this machine: onnxruntime, tokenizers and numpy, nothing else."""

import asyncio
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_core.embeddings import Embeddings

from nearfar.errors import InvalidParameterError, ModelNotFoundError, UnsupportedInputError
from nearfar.settings import Settings, resolve

from .embedding_folder import BUILTIN, EmbeddingFolder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from onnxruntime import InferenceSession
    from tokenizers import Encoding, Tokenizer

    Vectors = NDArray[np.float32]

_WINDOW = 2048  # texts that are tokenized and sorted by length together
_CHARACTERS_PER_TOKEN = 64  # of a long text, only so much is tokenized at first
_INPUTS = ("input_ids", "attention_mask", "token_type_ids", "position_ids")


def embeddings(
    name: str | None = None, *, settings: Settings | str | Path | None = None
) -> Embeddings:
    """The embedding model of that name in the settings; None is ``default``, else the built-in one.

    A name that no setting has may also be ``builtin`` or a folder.
    """
    known = resolve(settings).embeddings
    chosen = known.get("default" if name is None else name)
    if chosen is not None:
        return LocalEmbeddings(chosen.model, batch_size=chosen.batch_size)
    if name is None or name == "builtin":
        return LocalEmbeddings()
    if Path(name).is_dir():
        return LocalEmbeddings(name)
    raise ModelNotFoundError(
        f"There is no embedding model named {name!r}.",
        remedy="Name one of nearfar.yaml's `embeddings`, `builtin`, or a folder.",
        data={"name": name, "known": sorted({*known, "builtin"})},
    )


class LocalEmbeddings(Embeddings):
    """An embedding model in this process.

    ``model`` is ``builtin`` or a folder (see ``embedding_folder``). Nothing heavy is loaded before
    the first text. One object serves several threads and any event loop; a copy made by pickle
    loads the model again. ``threads`` is how many one call computes with; None leaves it to
    onnxruntime (one for each core).

    A text of more than ``max_tokens`` tokens is cut there; an empty one has a vector like any other.
    """

    def __init__(
        self, model: str | Path = "builtin", *, batch_size: int = 8, threads: int | None = None
    ) -> None:
        for parameter, value in (("batch_size", batch_size), ("threads", threads)):
            if value is not None and value < 1:
                raise InvalidParameterError(
                    f"{parameter} must be 1 or more, not {value}.",
                    data={"parameter": parameter, "value": value},
                )
        self.model = str(model)
        self.batch_size = batch_size
        self.threads = threads
        self._folder = EmbeddingFolder(
            BUILTIN if self.model == "builtin" else Path(model).expanduser()
        )
        self._lock = threading.Lock()
        self._loaded: _Encoder | None = None

    @property
    def name(self) -> str:
        """What the model is called; for people. Programs compare fingerprints."""
        return self._folder.facts.name

    @property
    def dimensions(self) -> int:
        """How many numbers a vector has."""
        return self._encoder().dimensions

    @property
    def fingerprint(self) -> str:
        """Equal for models that give equal vectors; an index keeps it. Needs no loading."""
        return self._folder.fingerprint

    @property
    def max_tokens(self) -> int:
        """How many tokens of a text the model sees, counted as ``count_tokens`` does."""
        return self._encoder().text_tokens

    def count_tokens(self, text: str) -> int:
        """Tokens of the text, without the model's special ones; longer than it sees is counted too."""
        return len(self._encoder().tokenize_whole(_clean(text)).ids)

    def token_offsets(self, text: str) -> list[tuple[int, int]]:
        """For each token of the text, where it begins and ends, in characters."""
        return list(self._encoder().tokenize_whole(_clean(text)).offsets)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """One vector for each text, in the order given."""
        vectors: list[list[float]] = self.embed_array(texts).tolist()
        return vectors

    def embed_query(self, text: str) -> list[float]:
        """The vector of a question."""
        vector: list[float] = self.embed_query_array(text).tolist()
        return vector

    def embed_array(self, texts: Sequence[str]) -> "Vectors":
        """As ``embed_documents``, as an array ``[len(texts), dimensions]`` of float32."""
        return self._embed(texts, self._folder.facts.document_prefix, lambda: False)

    def embed_query_array(self, text: str) -> "Vectors":
        """As ``embed_query``, as an array ``[dimensions]`` of float32."""
        row: Vectors = self._embed([text], self._folder.facts.query_prefix, lambda: False)[0]
        return row

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """As ``embed_documents``, in a thread; a cancelled call stops after the batch at hand."""
        stop = threading.Event()
        try:
            array = await asyncio.to_thread(
                self._embed, texts, self._folder.facts.document_prefix, stop.is_set
            )
        finally:
            stop.set()
        vectors: list[list[float]] = array.tolist()
        return vectors

    async def aembed_query(self, text: str) -> list[float]:
        """As ``embed_query``, in a thread."""
        return await asyncio.to_thread(self.embed_query, text)

    def _embed(self, texts: Sequence[str], prefix: str, stopped: Callable[[], bool]) -> "Vectors":
        import numpy as np

        encoder = self._encoder()
        vectors = np.zeros((len(texts), encoder.dimensions), np.float32)
        for start in range(0, len(texts), _WINDOW):
            window = [prefix + _clean(text) for text in texts[start : start + _WINDOW]]
            encodings = encoder.tokenize(window)
            for rows in _by_length(encodings, self.batch_size):
                if stopped():
                    return vectors
                batch = [encodings[row] for row in rows]
                vectors[[start + row for row in rows]] = encoder.run(batch)
        return vectors

    def _encoder(self) -> "_Encoder":
        if self._loaded is None:
            with self._lock:
                if self._loaded is None:
                    self._loaded = _Encoder(self._folder, self.threads)
        return self._loaded

    def __getstate__(self) -> dict[str, Any]:
        return {"model": self.model, "batch_size": self.batch_size, "threads": self.threads}

    def __setstate__(self, state: dict[str, Any]) -> None:
        LocalEmbeddings.__init__(self, **state)

    def __repr__(self) -> str:
        return f"nearfar.LocalEmbeddings({self.model!r})"


def _clean(text: str) -> str:
    """The text without halves of surrogate pairs, which the tokenizer refuses; same length."""
    if not isinstance(text, str):
        raise UnsupportedInputError(
            f"Only text can be embedded, not {type(text).__name__}.",
            data={"type": type(text).__name__},
        )
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode(errors="replace").decode()
    return text


def _by_length(encodings: "Sequence[Encoding]", batch_size: int) -> Iterator[list[int]]:
    """Batches of row numbers, alike in length, so that little is computed for padding."""
    order = sorted(range(len(encodings)), key=lambda row: len(encodings[row].ids), reverse=True)
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


class _Encoder:
    """A loaded model: tokenizer and session. Its methods may be called from several threads."""

    def __init__(self, folder: EmbeddingFolder, threads: int | None) -> None:
        self._folder = folder
        self._facts = folder.facts
        self._whole = self._load_tokenizer()
        self._cut = self._load_tokenizer()
        self._cut.enable_truncation(self._facts.max_tokens)
        self.text_tokens = self._facts.max_tokens - self._whole.num_special_tokens_to_add(False)
        self._pad_id = next(
            (i for t in ("[PAD]", "<pad>") if (i := self._whole.token_to_id(t)) is not None), 0
        )
        self._session = self._load_session(threads)
        self._inputs = {value.name: value.type for value in self._session.get_inputs()}
        unknown = sorted(set(self._inputs) - set(_INPUTS))
        if unknown:
            raise folder.broken(f"its model asks for inputs that are not known: {unknown}.")
        outputs = [value.name for value in self._session.get_outputs()]
        self._output = self._facts.output or outputs[0]
        if self._output not in outputs:
            raise folder.broken(f"its model has no output {self._output!r}, but {outputs}.")
        self.dimensions = int(self.run(self.tokenize([""])).shape[1])

    def tokenize_whole(self, text: str) -> "Encoding":
        """All of the text, without special tokens."""
        return self._whole.encode(text, add_special_tokens=False)

    def tokenize(self, texts: list[str]) -> "list[Encoding]":
        """Each text with its special tokens, cut at the model's limit."""
        limit = self._facts.max_tokens * _CHARACTERS_PER_TOKEN
        encodings = self._cut.encode_batch_fast([text[:limit] for text in texts])
        for row, text in enumerate(texts):
            reach = limit
            while len(text) > reach and not encodings[row].overflowing:
                reach *= 8  # so much blank space or so few tokens that the start did not suffice
                encodings[row] = self._cut.encode_batch_fast([text[:reach]])[0]
        return encodings

    def run(self, encodings: "Sequence[Encoding]") -> "Vectors":
        """One vector for each encoding."""
        import numpy as np

        length = max(1, *(len(encoding.ids) for encoding in encodings))
        ids = np.full((len(encodings), length), self._pad_id, np.int64)
        mask, types = np.zeros_like(ids), np.zeros_like(ids)
        for row, encoding in enumerate(encodings):
            size = len(encoding.ids)
            ids[row, :size] = encoding.ids
            mask[row, :size] = 1
            types[row, :size] = encoding.type_ids
        positions = np.broadcast_to(np.arange(length), ids.shape)
        values = dict(zip(_INPUTS, (ids, mask, types, positions), strict=True))
        feed = {
            name: values[name].astype(np.int32 if kind == "tensor(int32)" else np.int64)
            for name, kind in self._inputs.items()
        }
        output = np.asarray(self._session.run([self._output], feed)[0], np.float32)
        return self._pool(output, mask)

    def _pool(self, output: "Vectors", mask: "NDArray[np.int64]") -> "Vectors":
        import numpy as np

        weight = mask[..., None].astype(np.float32)
        if output.ndim == 2:
            pooled = output
        elif self._facts.pooling == "none":
            raise self._folder.broken("its output is a vector for each token; declare `pooling`.")
        elif self._facts.pooling == "cls":
            pooled = output[:, 0]
        elif self._facts.pooling == "last":
            pooled = output[np.arange(len(output)), np.maximum(mask.sum(axis=1) - 1, 0)]
        else:
            pooled = (output * weight).sum(axis=1) / np.maximum(weight.sum(axis=1), 1)
        if self._facts.normalize:
            pooled = pooled / np.maximum(np.linalg.norm(pooled, axis=1, keepdims=True), 1e-12)
        return np.ascontiguousarray(pooled, np.float32)

    def _load_tokenizer(self) -> "Tokenizer":
        from tokenizers import Tokenizer

        try:
            tokenizer = Tokenizer.from_file(str(self._folder.tokenizer_file))
        except Exception as error:  # the library raises the bare class for a broken file
            raise self._folder.broken("its tokenizer.json is not a tokenizer.") from error
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return tokenizer

    def _load_session(self, threads: int | None) -> "InferenceSession":
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when the library is loaded
        import onnxruntime

        onnxruntime.disable_telemetry_events()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors; they are raised as well
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if threads is not None:
            options.intra_op_num_threads = threads
        try:
            return onnxruntime.InferenceSession(
                str(self._folder.model_file), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its own classes share no base but this
            raise self._folder.broken("onnxruntime does not load its model.") from error
