"""Text without markup, reStructuredText, and files that are made of lines."""

import re

from .document import Block, HeadingPath

_BLANK = re.compile(r"\n[^\S\n]*\n")
_ADORNMENT = re.compile(r"([=\-~^\"'`#*+.:_<>])\1{2,}")


def paragraphs(text: str) -> list[Block]:
    """A block for each stretch between blank lines."""
    blocks = []
    start = 0
    for gap in _BLANK.finditer(text):
        blocks.append(Block(start, gap.start()))
        start = gap.end()
    blocks.append(Block(start, len(text)))
    return blocks


def lines(text: str) -> list[Block]:
    """Data and logs: one block; the splitter cuts it at line ends."""
    return [Block(0, len(text), "table")]


def restructured(text: str) -> list[Block]:
    """Paragraphs, with titles from underlines; a style's level is the order of its first use."""
    path, levels = HeadingPath(), list[str]()
    blocks: list[Block] = []
    for block in paragraphs(text):
        title = _title(text[block.start : block.end])
        if title is None:
            blocks.append(Block(block.start, block.end, "text", None, path.path))
            continue
        style, words, length = title
        if style not in levels:
            levels.append(style)
        headings = path.enter(levels.index(style) + 1, words)
        end = block.start + length
        blocks.append(Block(block.start, end, "heading", None, headings))
        if end < block.end:
            blocks.append(Block(end, block.end, "text", None, headings))
    return blocks


def _title(paragraph: str) -> tuple[str, str, int] | None:
    """Style, words and length of the title that a paragraph begins with."""
    rows = paragraph.split("\n", 4)
    skipped = 0
    while rows and not rows[0].strip():
        skipped += len(rows[0]) + 1
        rows.pop(0)
    over = len(rows) > 2 and _ADORNMENT.fullmatch(rows[0].rstrip()) is not None
    words_at = 1 if over else 0
    if len(rows) < words_at + 2:
        return None
    words, rule = rows[words_at].strip(), rows[words_at + 1].rstrip()
    if not words or _ADORNMENT.fullmatch(rule) is None or _ADORNMENT.fullmatch(words) is not None:
        return None
    if len(rule) < len(words):
        return None
    length = skipped + sum(len(row) + 1 for row in rows[: words_at + 2]) - 1
    return rule[0] + ("o" if over else ""), words, min(length, len(paragraph))
