"""A letter goes out once, and only when a person has approved it. Runs offline.

nearfar run examples/approve_letter.py --draft "Dear reader, ..." --to outbox.txt
nearfar runs approve RUN            # or: --edit "Dear Ada, ...", --reject
"""

from pathlib import Path
from typing import Any

import nearfar
from nearfar.graphs.approve import build_approve


def was_posted(text: str, to: str | None) -> Any:
    """Asked when the program ended in the middle: is the letter in the outbox?"""
    from nearfar.graphs.runtime.effects import NOT_DONE, Done

    outbox = Path(str(to))
    held = outbox.is_file() and f"{text}\n--\n" in outbox.read_text(encoding="utf-8")
    return Done("posted") if held else NOT_DONE


@nearfar.effect(reconcile=was_posted)
def post(text: str, to: str | None) -> str:
    """Put the letter into the outbox, a file here."""
    with Path(str(to)).open("a", encoding="utf-8") as outbox:
        outbox.write(f"{text}\n--\n")
    return "posted"


def graph() -> Any:
    """The workflow ``approve`` with a deed of our own."""
    return build_approve(act=post)
