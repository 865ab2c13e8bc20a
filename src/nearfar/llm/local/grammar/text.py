"""Grammars of text: a choice between options, quotes out of passages, text with citations."""

from collections.abc import Collection, Sequence

from nearfar.errors import GrammarError

from .lark import LarkWriter, alternatives, literal, regex, sequence

_TRACKED = 64  # the bits of a rule's parameter


def choice_grammar(options: Sequence[str]) -> str:
    """Exactly one of the options, none of them empty."""
    distinct = list(dict.fromkeys(options))
    if not distinct or "" in distinct:
        raise GrammarError("A choice needs options, none of them empty.")
    writer = LarkWriter()
    return writer.text(writer.terminal(" | ".join(literal(option) for option in distinct)))


def quote_grammar(
    sentences: Sequence[tuple[int, str]], refusal: str | None = None, *, max_quotes: int = 3
) -> str:
    """Whole sentences, each followed by the number of its own passage: ``A sentence. [2]``.

    Args:
        sentences: (passage number, sentence); a sentence comes out at most once for each number.
        refusal: the sentence that says that the passages do not answer; None allows none.
        max_quotes: how many sentences at most, one space between them.

    Raises:
        GrammarError: there is nothing to say: no sentence and no refusal.

    """
    quotes = list(dict.fromkeys(f"{text.strip()} [{n}]" for n, text in sentences if text.strip()))
    if (not quotes and not refusal) or max_quotes < 1:
        raise GrammarError("A quote needs sentences or a refusal.")
    writer = LarkWriter()
    starts = [literal(refusal)] if refusal else []
    if quotes and len(quotes) <= _TRACKED:
        starts.append("quote::0")
        # The rules' parameter has a bit for each sentence that has been said.
        said = [
            f"{literal(quote)} more::set_bit({bit}) %if bit_clear({bit})"
            for bit, quote in enumerate(quotes)
        ]
        writer.parametric("quote", said)
        writer.parametric("more", ['""', f'" " quote::_ %if bit_count_lt(_, {max_quotes})'])
    elif quotes:
        one = writer.rule(alternatives([literal(quote) for quote in quotes]))
        starts.append(sequence(one, f'(" " {one}){{0,{max_quotes - 1}}}'))
    return writer.text(" | ".join(starts))


def citation_text_grammar(
    numbers: Collection[int], *, refusal: str | None = None, max_chars: int = 4000
) -> str:
    """Free text of at most ``max_chars`` characters, in which ``[`` only opens one of ``numbers``.

    A mark such as ``[2]`` counts as one character. With a refusal, that sentence alone is also an
    answer; it may hold brackets.
    """
    marks = "|".join(str(number) for number in sorted(set(numbers)))
    unit = rf"(?:[^\[]|\[(?:{marks})\])" if marks else r"[^\[]"
    writer = LarkWriter()
    text = writer.terminal(regex(rf"[^\[ \t\r\n]{unit}{{0,{max_chars - 1}}}"))
    return writer.text(" | ".join([text, literal(refusal)] if refusal else [text]))
