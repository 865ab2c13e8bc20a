"""500 texts to measure the int8 model with: documentation, code, questions, other scripts, edges.

The documentation texts are docstrings of Python's standard library, so they differ between Python
releases; what the tests use is the copy that the export script wrote (tests/data/embeddings).
"""

import inspect
import random
from importlib import import_module

COUNT = 500
MODULES = [
    "argparse",
    "asyncio",
    "collections",
    "datetime",
    "decimal",
    "heapq",
    "inspect",
    "json",
    "logging",
    "os",
    "pathlib",
    "random",
    "re",
    "socket",
    "ssl",
    "statistics",
    "subprocess",
    "tarfile",
    "threading",
    "zipfile",
]
QUESTIONS = (
    "how do I {verb} a {noun} without losing {thing}?",
    "What happens when the {noun} is {state} while another program reads {thing}?",
    "{noun} {state}: cannot {verb} {thing}",
    "Explain in one sentence why a {noun} must {verb} before {thing} is {state}.",
)
VERBS = [
    "open",
    "close",
    "delete",
    "move",
    "measure",
    "translate",
    "compress",
    "encrypt",
    "merge",
    "plot",
]
NOUNS = [
    "file",
    "contract",
    "battery",
    "river",
    "lecture",
    "database",
    "recipe",
    "engine",
    "passport",
    "garden",
]
THINGS = ["the backup", "my notes", "its history", "the invoice", "a signature", "the last page"]
STATES = ["locked", "broken", "frozen", "empty", "expired", "missing", "twice-read"]
EDGES = (
    "",
    " ",
    "a",
    "\x00",
    "one\x00two",
    "[CLS] [SEP] [MASK]",
    "🙂🙃 emoji 👩‍👩‍👧",
    "naïve façade Ångström",
    "x" * 300,
    "1234567890 " * 40,
    "Der Vertrag endet am 31. Dezember, wenn er nicht verlängert wird.",
    "Le contrat prend fin le 31 décembre s'il n'est pas prolongé.",
    "合同如不续签，将于十二月三十一日终止。",  # noqa: RUF001 - Chinese
    "契約は更新されない限り十二月三十一日に終了します。",
    "Договор заканчивается 31 декабря, если его не продлить.",  # noqa: RUF001 - Russian
    "ينتهي العقد في 31 ديسمبر ما لم يتم تمديده",
    "SELECT name, SUM(price) FROM orders WHERE day >= '2024-01-01' GROUP BY name;",
    "\tif (a[i] != NULL && --n > 0) { free(a[i]); a[i] = NULL; }\n",
)


def _docstrings() -> list[str]:
    found: set[str] = set()
    for name in MODULES:
        module = import_module(name)
        for member in vars(module).values():
            documentation = getattr(member, "__doc__", None)
            if isinstance(documentation, str) and 20 < len(documentation) < 900:
                found.add(inspect.cleandoc(documentation))
    return sorted(found)


def _questions(rng: random.Random, count: int) -> list[str]:
    return [
        rng.choice(QUESTIONS).format(
            verb=rng.choice(VERBS),
            noun=rng.choice(NOUNS),
            thing=rng.choice(THINGS),
            state=rng.choice(STATES),
        )
        for _ in range(count)
    ]


def sample_texts(seed: int = 2024) -> list[str]:
    """Exactly ``COUNT`` texts; the same for the same seed and Python release."""
    rng = random.Random(seed)
    documentation = _docstrings()
    rng.shuffle(documentation)
    code = [inspect.getsource(member) for member in (random.Random, inspect.cleandoc)]
    long_texts = ["\n\n".join(documentation[i : i + 12]) for i in range(0, 120, 12)]
    questions = _questions(rng, 120)
    texts = [*EDGES, *code, *long_texts, *questions]
    return [*texts, *documentation[: COUNT - len(texts)]]
