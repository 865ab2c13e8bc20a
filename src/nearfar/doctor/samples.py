"""Made-up documents with the statistics of prose: a few frequent words, many rare ones."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np

_SYLLABLES = (
    "ba ce di fo gu ha je ki lo mu na pe ri so tu va we xi yo za bra cle dri flo gru sta ske spi"
)
_VOCABULARY = 20_000


class Prose:
    """Endless text; equal seeds write the same."""

    def __init__(self, seed: int = 0) -> None:
        self._rng = np.random.default_rng(seed)
        syllables = _SYLLABLES.split()
        made = itertools.chain.from_iterable(
            itertools.product(syllables, repeat=count) for count in (1, 2, 3, 4)
        )
        self._words = ["".join(parts) for parts in itertools.islice(made, _VOCABULARY)]
        weights = 1.0 / np.arange(1, _VOCABULARY + 1)
        self._sums = np.cumsum(weights / weights.sum())

    def words(self, count: int) -> list[str]:
        """Words by Zipf's law."""
        places = np.searchsorted(self._sums, self._rng.random(count))
        return [self._words[min(place, _VOCABULARY - 1)] for place in places.tolist()]

    def sentence(self, length: int = 12) -> str:
        """``length`` words, the first with a capital letter."""
        return " ".join(self.words(length)).capitalize() + "."

    def passage(self, sentences: int = 8) -> str:
        """About a hundred words."""
        return " ".join(self.sentence() for _ in range(sentences))

    def documents(self, folder: Path, count: int) -> Iterator[Path]:
        """Write Markdown files of three sections, about 600 words each."""
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            parts = [f"# {self.sentence(4)}"]
            for _ in range(3):
                parts += [f"## {self.sentence(3)}", self.passage(), self.passage()]
            path = folder / f"document-{number}.md"
            path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
            yield path
