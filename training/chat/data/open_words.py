"""Words without end for training: what is copied and matched must not be learned word by word.

The pools hold some hundred words each, and a model that sees them a million times learns them by
heart. Most draws for training therefore come from the sentences of ``gathered``: any noun may be
named, any verb done, and names are put together from pieces of words. What the evaluation holds back
is left out here.
"""

import re
from collections import Counter
from typing import TYPE_CHECKING

from .gathered import Gathered

if TYPE_CHECKING:
    from .draw import Draw

_BEFORE_NOUN = frozenset("the a an this that each every its their your our any".split())
_BEFORE_VERB = frozenset("to can will must may should cannot could would".split())
_PLAIN = frozenset(
    """the and for are but not you all can her was one our out has had his how its may new now old
    see two way who did get use that this with from have will when then they them there what which
    where were been than only also into some such each must should would could other more most
    else very just like does done both many much your their these those been being over under""".split()
)
_WORD = re.compile(r"[A-Za-z]+")
_PART = re.compile(r"(\{\w*\})|([A-Za-z']+)|([^A-Za-z{}]+|[{}])")
# Words on which the right answer hangs stay as they are.
_KEPT = frozenset(
    """not no unless without never off on false true yes else otherwise approve revise null json
    who what when where why how which whose whom first then after before once next if except only
    is are was were must should may can cannot do does done't one each per line question questions
    number digit figure citation mention mentions names name""".split()
)
_FILLERS = "really just now here please well the a very also quite still simply maybe again".split()


class OpenWords:
    """Words by what they can stand for, from sentences; ``barred`` are never drawn."""

    def __init__(self, found: Gathered, barred: set[str]) -> None:
        self.similar = {w: [o for o in s if o not in barred] for w, s in found.words.items()}
        counts: dict[str, Counter[str]] = {
            k: Counter() for k in ("noun", "verb", "adjective", "name")
        }
        for _, sentence in found.sentences:
            words = _WORD.findall(sentence)
            for before, word, after in zip(words, words[1:], [*words[2:], ""], strict=False):
                if len(word) < 3 or word.lower() in _PLAIN:
                    continue
                if word[0].isupper():
                    if word[1:].islower() and before.islower():
                        counts["name"][word.lower()] += 1
                elif not word.islower():
                    continue
                elif before.lower() in _BEFORE_VERB:
                    counts["verb"][word] += 1
                elif before.lower() in _BEFORE_NOUN:
                    more = after.islower() and after not in _PLAIN and len(after) > 3
                    counts["adjective" if more else "noun"][word] += 1
        self.words = {
            kind: sorted(w for w, n in each.items() if n >= 3 and w not in barred)
            for kind, each in counts.items()
        }
        pieces = Counter(w[:n] for w in self.words["noun"] for n in (2, 3, 4) if len(w) >= n)
        pieces.update(w[-n:] for w in self.words["noun"] for n in (2, 3, 4) if len(w) >= n)
        self.pieces = sorted(pieces)
        self.barred = barred

    def one(self, draw: "Draw", kind: str) -> str:
        return draw.one(self.words[kind])

    def made_up(self, draw: "Draw") -> str:
        """A word of pieces that other words have."""
        while True:
            word = "".join(draw.one(self.pieces) for _ in range(draw.between(1, 3)))
            if len(word) > 2 and word not in self.barred:
                return word

    def some(self, draw: "Draw", kind: str) -> str:
        """A word of the kind; now and then one that nobody knows."""
        return self.made_up(draw) if draw.chance(0.2) else self.one(draw, kind)

    def with_similar(self, draw: "Draw", kind: str) -> tuple[str, ...]:
        """A word, and others that one may say for it."""
        word = self.some(draw, kind)
        if kind == "noun" and draw.chance(0.15):
            return (f"{self.some(draw, 'adjective')} {word}",)
        return (word, *self.similar.get(word, [])[:3])

    def label(self, draw: "Draw") -> str:
        word = self.some(draw, draw.one(["noun", "noun", "adjective", "verb"]))
        return f"{word}_{self.some(draw, 'noun')}" if draw.chance(0.4) else word

    def name(self, draw: "Draw") -> str:
        return (self.made_up(draw) if draw.chance(0.5) else self.one(draw, "name")).capitalize()

    def make(self, draw: "Draw", kind: str) -> object:
        """What a pool of this kind holds: see ``Pool``."""
        if kind in ("nouns", "verbs"):
            return self.with_similar(draw, kind[:-1])
        if kind == "label":
            return self.label(draw)
        if kind == "name":
            return self.name(draw)
        if kind == "subject":
            return f"the {self.some(draw, 'noun')}"
        return self.some(draw, kind)

    def _other(self, draw: "Draw", word: str, any_word: bool) -> str:
        if known := self.similar.get(word.lower()):
            return draw.one(known)
        if any_word and draw.chance(0.6):
            return self.some(draw, draw.one(["noun", "verb", "adjective"]))
        return word

    def altered(self, draw: "Draw", form: str, loose: bool) -> str:
        """A wording with some words exchanged, left out or put in; its placeholders stay."""
        how = draw.weighted({"": 5, "light": 3, "heavy": 3 if loose else 0})
        if not how or " " not in form:
            return form
        other, lost, added = (0.2, 0.03, 0.04) if how == "light" else (0.45, 0.12, 0.12)
        made = []
        for held, word, rest in _PART.findall(form):
            if not word or word.lower() in _KEPT:
                made.append(held or word or rest)
                continue
            if draw.chance(added):
                filler = draw.one(_FILLERS) if draw.chance(0.5) else self.some(draw, "noun")
                made.append(filler + " ")
            if draw.chance(lost) and made:
                continue
            made.append(self._other(draw, word, how == "heavy") if draw.chance(other) else word)
        text = re.sub(r" {2,}", " ", "".join(made)).strip()
        return text if form[:1] != " " else " " + text
