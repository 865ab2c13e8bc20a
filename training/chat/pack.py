"""Pack examples into rows of equal length, in numbered shards.

    python training/chat/pack.py --out ../work/chat --length 256 --first 0 --count 8

A shard has the rows of about a million tokens; its number is its seed, so that later shards are
always new examples. Nothing is cut: what is longer than a row goes to no shard of that length.
"""

import argparse
import itertools
from pathlib import Path

import numpy as np
from data.mixture import examples
from text_side import ASSET, TextSide

SHARD_TOKENS = 1 << 20
_OPEN = 48  # rows that wait for something that fits


class Rows:
    """Rows that are being filled: tokens, document numbers, and which tokens count fully."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.open: list[list[tuple[list[int], list[bool]]]] = []
        self.room: list[int] = []
        self.done: list[list[tuple[list[int], list[bool]]]] = []

    def add(self, tokens: list[int], full: list[bool]) -> None:
        """Into the row that it fills best."""
        fits = [(room, n) for n, room in enumerate(self.room) if room >= len(tokens)]
        if fits:
            place = min(fits)[1]
        else:
            if len(self.open) >= _OPEN:
                fullest = min(range(len(self.room)), key=self.room.__getitem__)
                self.done.append(self.open.pop(fullest))
                self.room.pop(fullest)
            self.open.append([])
            self.room.append(self.length)
            place = len(self.open) - 1
        self.open[place].append((tokens, full))
        self.room[place] -= len(tokens)

    def arrays(self, count: int) -> dict[str, np.ndarray]:
        """The first ``count`` rows; documents are numbered from 1, padding is document 0."""
        ids = np.zeros((count, self.length), np.uint16)
        documents = np.zeros((count, self.length), np.uint8)
        full = np.zeros((count, self.length), np.uint8)
        for row, parts in enumerate([*self.done, *self.open][:count]):
            start = 0
            for number, (tokens, counts) in enumerate(parts, 1):
                end = start + len(tokens)
                ids[row, start:end], documents[row, start:end] = tokens, number
                full[row, start:end] = counts
                start = end
        return {"ids": ids, "documents": documents, "full": full}


def shard(
    number: int, length: int, tokens: int = SHARD_TOKENS, asset: Path = ASSET
) -> dict[str, np.ndarray]:
    """The rows of one shard: whatever fits of the examples that its number is the seed of."""
    side = TextSide(asset)
    rows = Rows(length)
    wanted = max(1, tokens // length)
    source = examples(f"shard/{length}/{number}")
    while len(rows.done) < wanted:
        for ids, full in side.encode(list(itertools.islice(source, 64))):
            if len(ids) <= length:
                rows.add(ids, full)
    return rows.arrays(wanted)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=SHARD_TOKENS)
    parser.add_argument("--asset", type=Path, default=ASSET, help="where tokenizer.json is")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    for number in range(given.first, given.first + given.count):
        made = shard(number, given.length, given.tokens, given.asset)
        np.savez_compressed(given.out / f"{given.length}-{number:04}.npz", **made)
        filled = (made["documents"] > 0).mean()
        print(
            f"{given.length}-{number:04}: {filled:.1%} filled, {made['full'].mean():.1%} learned fully",
            flush=True,
        )


if __name__ == "__main__":
    main()
