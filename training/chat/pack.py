"""Pack examples into rows of equal length, in numbered shards.

    python training/chat/pack.py --out ../work/chat --length 256 --first 0 --count 8
    python training/chat/pack.py ... --texts texts.json.gz --meanings meanings.json.gz --jobs 12

A shard has the rows of about a million tokens; its number is its seed, so that later shards are
always new examples. Nothing is cut: what is longer than a row goes to no shard of that length.
"""

import argparse
import itertools
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from data.mixture import examples
from text_side import ASSET, TextSide

from data import gathered

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


def _write(number: int, given: argparse.Namespace) -> str:
    """Make a shard; its file appears when it is whole."""
    made = shard(number, given.length, given.tokens, given.asset)
    file = given.out / f"{given.length}-{number:04}.npz"
    part = file.with_suffix(".part")
    with part.open("wb") as opened:
        np.savez_compressed(opened, **made) if given.jobs == 1 else np.savez(opened, **made)
    part.replace(file)
    filled, full = (made["documents"] > 0).mean(), made["full"].mean()
    return f"{file.stem}: {filled:.1%} filled, {full:.1%} learned fully"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=SHARD_TOKENS)
    parser.add_argument("--asset", type=Path, default=ASSET, help="where tokenizer.json is")
    parser.add_argument("--texts", type=Path, help="what gather_texts.py wrote")
    parser.add_argument("--meanings", type=Path, help="what mine_meanings.py wrote")
    parser.add_argument("--jobs", type=int, default=1, help="processes; with more, larger files")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    gathered.use(given.texts, given.meanings)
    numbers = range(given.first, given.first + given.count)
    if given.jobs == 1:
        for number in numbers:
            print(_write(number, given), flush=True)
        return
    with ProcessPoolExecutor(
        given.jobs, initializer=gathered.use, initargs=(given.texts, given.meanings)
    ) as pool:
        for line in pool.map(_write, numbers, itertools.repeat(given)):
            print(line, flush=True)


if __name__ == "__main__":
    main()
