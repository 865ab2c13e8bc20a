"""Find what means nearly the same in other words, with Nearfar's embedding model.

    python training/chat/mine_meanings.py --texts ../work/texts.json.gz --out ../work/meanings.json.gz

Two things come out of the sentences of gather_texts.py: for a word, others that may stand in its
place; and pairs of sentences that are near in meaning and share few words. From such a pair a question
is made of one sentence, to which the other is the answer. It needs onnxruntime and numpy, no torch.
"""

import argparse
import gzip
import json
import os
import re
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from data.real_sentences import content

EMBEDDINGS = Path(__file__).parents[2] / "src/nearfar/llm/assets/all-minilm-l6-v2"
NEAR, SAME = 0.66, 0.93  # cosines between which two sentences mean nearly the same
WORD_NEAR = 0.62
_BLOCK = 2048


@lru_cache
def _load() -> tuple[Any, Any]:
    import onnxruntime
    from tokenizers import Tokenizer

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    model = onnxruntime.InferenceSession(
        str(EMBEDDINGS / "model.onnx"), options, providers=["CPUExecutionProvider"]
    )
    tokenizer = Tokenizer.from_file(str(EMBEDDINGS / "tokenizer.json"))
    tokenizer.enable_truncation(96)
    tokenizer.enable_padding()
    return model, tokenizer


def embed(texts: Sequence[str]) -> np.ndarray:
    """Unit vectors, one row for each text (float16)."""
    model, tokenizer = _load()
    order = sorted(range(len(texts)), key=lambda n: len(texts[n]))
    vectors = np.zeros((len(texts), 384), np.float16)
    for start in range(0, len(order), 64):
        places = order[start : start + 64]
        encoded = tokenizer.encode_batch([texts[n] for n in places])
        ids = np.array([e.ids for e in encoded])
        mask = np.array([e.attention_mask for e in encoded])
        (states,) = model.run(
            None, {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        )
        mean = (states * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
        vectors[places] = mean / np.linalg.norm(mean, axis=1, keepdims=True)
    return vectors


def _embed_all(texts: list[str], jobs: int) -> np.ndarray:
    parts = [texts[start : start + _BLOCK] for start in range(0, len(texts), _BLOCK)]
    with ProcessPoolExecutor(jobs) as pool:
        return np.concatenate(list(pool.map(embed, parts)))


def nearest(vectors: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """For each row the ``count`` rows that are nearest to it, and their cosines."""
    wide = vectors.astype(np.float32)
    count = min(count, len(wide) - 1)
    places = np.zeros((len(wide), count), np.int32)
    cosines = np.zeros((len(wide), count), np.float32)
    for start in range(0, len(wide), _BLOCK):
        likeness = wide[start : start + _BLOCK] @ wide.T
        rows = np.arange(len(likeness))[:, None]
        likeness[rows[:, 0], start + rows[:, 0]] = -1
        best = np.argpartition(-likeness, count, axis=1)[:, :count]
        best = np.take_along_axis(best, np.argsort(-likeness[rows, best], axis=1), 1)
        places[start : start + _BLOCK] = best
        cosines[start : start + _BLOCK] = likeness[rows, best]
    return places, cosines


def stem(word: str) -> str:
    """Enough of a word to tell its forms from other words."""
    bare = re.sub(r"(ing|ers?|ed|es|s|ly|tions?|ments?)$", "", word.lower())
    return bare[: max(4, len(bare) - 1)] if len(bare) >= 4 else word.lower()


def similar_words(sentences: list[str], jobs: int, least: int = 25) -> dict[str, list[str]]:
    """Words that occur often, with up to six that mean nearly the same and are not forms of them."""
    counts = Counter(w.lower() for s in sentences for w in content(s))
    words = sorted(w for w, n in counts.items() if n >= least)
    places, cosines = nearest(_embed_all(words, jobs), 16)
    found = {}
    for number, word in enumerate(words):
        others: list[str] = []
        for place, cosine in zip(places[number], cosines[number], strict=True):
            other = words[place]
            stems = {stem(word), *map(stem, others)}
            if cosine >= WORD_NEAR and stem(other) not in stems and other[:4] != word[:4]:
                others.append(other)
        if others:
            found[word] = others[:6]
    return found


def similar_sentences(sentences: list[str], homes: list[int], jobs: int) -> list[tuple[int, int]]:
    """Pairs of places: near in meaning, few words in common, not of one paragraph."""
    places, cosines = nearest(_embed_all(sentences, jobs), 24)
    stems = [{stem(w) for w in content(s)} for s in sentences]
    pairs = []
    for number in range(len(sentences)):
        mine, taken = stems[number], 0
        if len(mine) < 2:
            continue
        for place, cosine in zip(places[number], cosines[number], strict=True):
            shared = len(mine & stems[place]) / len(mine)
            if NEAR <= cosine <= SAME and shared <= 0.4 and homes[number] != homes[place]:
                pairs.append((number, int(place)))
                taken += 1
                if taken == 3:
                    break
    return pairs


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--jobs", type=int, default=max(1, (os.cpu_count() or 2) - 1))
    parser.add_argument("--every", type=int, default=1, help="pairs of every N-th paragraph alone")
    given = parser.parse_args()
    paragraphs = json.loads(gzip.decompress(given.texts.read_bytes()))
    sentences = [s for p in paragraphs for s in p]
    homes = [n for n, p in enumerate(paragraphs) for _ in p]
    words = similar_words(sentences, given.jobs)
    print(f"{len(words)} words with others like them", flush=True)
    chosen = [n for n, home in enumerate(homes) if home % given.every == 0]
    near = similar_sentences([sentences[n] for n in chosen], [homes[n] for n in chosen], given.jobs)
    pairs = [(chosen[a], chosen[b]) for a, b in near]
    print(f"{len(pairs)} pairs of sentences", flush=True)
    held = json.dumps({"words": words, "pairs": pairs}).encode()
    given.out.write_bytes(gzip.compress(held, 9, mtime=0))


if __name__ == "__main__":
    main()
