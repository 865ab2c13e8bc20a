"""How the kinds of examples are mixed, and how long they may be."""

from collections.abc import Callable, Iterator

from . import calling_items as calls
from . import form_items as forms
from . import gathered
from . import meant_items as meant
from . import reading_items as reading
from .draw import Draw, Side
from .items import Item

_Make = Callable[[Draw], Item]

# Shares by number of examples. ``candidates`` is what ask sends to a small model: single sentences.
MIXTURE: dict[str, tuple[float, _Make]] = {
    "call": (30, calls.one_call),
    "own call": (3, calls.own_call),
    "parallel": (2, calls.parallel_calls),
    "none": (8, calls.no_call),
    "result": (9, calls.answered_call),
    "chain": (14, calls.chained_calls),
    "facts candidates": (12, lambda draw: reading.invented_facts(draw, 6, 0)),
    "facts few": (6, lambda draw: reading.invented_facts(draw, 8)),
    "facts many": (4, lambda draw: reading.invented_facts(draw, 48)),
    "real candidates": (9, lambda draw: reading.real_passages(draw, 6, 0)),
    "real few": (4, lambda draw: reading.real_passages(draw, 6)),
    "real many": (3, lambda draw: reading.real_passages(draw, 24)),
    "meant candidates": (6, lambda draw: meant.meant_passages(draw, single=True)),
    "meant": (6, lambda draw: meant.meant_passages(draw, single=False)),
    "extract": (16, forms.extraction),
    "key": (5, forms.key_sentence),
    "listed key": (4, forms.listed_key_sentence),
    "parts": (8, forms.sub_questions),
    "approve": (5, forms.approval),
}


def examples(seed: int | str, side: Side = "train") -> Iterator[Item]:
    """Without end; equal seeds give equal examples (with equal versions of Python's library)."""
    draw = Draw(seed, side)
    shares = {name: share for name, (share, _) in MIXTURE.items()}
    if side == "eval":
        del shares["own call"]  # these tools are known from training
    if side == "eval" or gathered.held() is None:
        del shares["meant candidates"], shares["meant"]
    while True:
        yield MIXTURE[draw.weighted(shares)][1](draw)
