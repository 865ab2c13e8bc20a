"""Tokens to text, one at a time, and the search for stop strings.

Both hold back what later tokens could still change: incomplete UTF-8, and a tail that could be
the beginning of a stop string. Joined, the pieces equal the decoding of all tokens at once.
"""

import codecs
import json
from collections.abc import Collection, Sequence
from typing import Any, Protocol

_REPLACEMENT = "\ufffd"


class TokenText:
    """A model's tokenizer, as far as decoding needs it."""

    def __init__(self, tokenizer_json: str, end_ids: Collection[int]) -> None:
        from tokenizers import Tokenizer

        self.tokenizer = Tokenizer.from_str(tokenizer_json)
        self.size: int = 1 + max(self.tokenizer.get_vocab(with_added_tokens=True).values())
        self.end_ids = frozenset(end_ids)
        spec = json.loads(tokenizer_json)
        self.special = frozenset(
            int(token["id"]) for token in spec.get("added_tokens", ()) if token["special"]
        )
        self._bytes = _byte_table(self.tokenizer, self.size) if _is_byte_level(spec) else None
        names = ((self.tokenizer.token_to_id(f"<0x{value:02X}>")) for value in range(256))
        self._single_bytes = frozenset(token for token in names if token is not None)

    def stream(self, visible_special: Collection[int], after: int | None = None) -> "TextStream":
        """A decoder for one reply. Special tokens are dropped but for ``visible_special``.

        ``after`` is the token of a text that the reply goes on with: its first blank then counts.
        """
        dropped = (self.special - frozenset(visible_special)) | self.end_ids
        if self._bytes is not None:
            return _ByteStream(self._bytes, dropped)
        before = [] if after is None or after in dropped else [after]
        return _WindowStream(self.tokenizer, self._single_bytes, dropped, before)

    def decode(self, ids: Sequence[int], visible_special: Collection[int] = ()) -> str:
        """The text of all ``ids`` at once, by the same rule."""
        dropped = (self.special - frozenset(visible_special)) | self.end_ids
        kept = [token for token in ids if token not in dropped]
        text: str = self.tokenizer.decode(kept, skip_special_tokens=False)
        return text


class TextStream(Protocol):
    """What both decoders do."""

    def feed(self, token: int) -> str:
        """The text that has become certain with this token."""

    def finish(self) -> str:
        """What was still held back."""


class _ByteStream:
    """For byte-level tokenizers: every token is known bytes, so one UTF-8 decoder does it all."""

    def __init__(self, table: list[bytes], dropped: frozenset[int]) -> None:
        self._table = table
        self._dropped = dropped
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode

    def feed(self, token: int) -> str:
        if token in self._dropped:
            return ""
        return self._decode(self._table[token])

    def finish(self) -> str:
        return self._decode(b"", True)


class _WindowStream:
    """For all others: decodes a window without and with the new tokens, and takes what is new.

    The window begins at the previous piece, because decoders treat the very first token (its
    leading space) unlike the rest. Tokens for single bytes wait until their run ends: one wrong
    byte turns the whole run into replacement characters, also what looked complete before.
    """

    def __init__(
        self,
        tokenizer: Any,
        single_bytes: frozenset[int],
        dropped: frozenset[int],
        before: Sequence[int] = (),
    ) -> None:
        self._tokenizer = tokenizer
        self._single_bytes = single_bytes
        self._dropped = dropped
        self._ids = list(before)
        self._settled = len(before)  # tokens of the window whose text has been given

    def feed(self, token: int) -> str:
        if token in self._dropped:
            return ""
        self._ids.append(token)
        if token in self._single_bytes:
            return ""
        whole = self._decode(self._ids)
        return "" if whole.endswith(_REPLACEMENT) else self._take(whole)

    def finish(self) -> str:
        return self._take(self._decode(self._ids))

    def _take(self, whole: str) -> str:
        new = whole[len(self._decode(self._ids[: self._settled])) :]
        if new:
            self._ids = self._ids[self._settled :]
            self._settled = len(self._ids)
        return new

    def _decode(self, ids: list[int]) -> str:
        text: str = self._tokenizer.decode(ids, skip_special_tokens=False)
        return text


class StopFinder:
    """Takes text in pieces of any size and finds the stop string that is complete first."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = stops
        self._held = ""

    def feed(self, text: str) -> tuple[str, str | None]:
        """Text that is certainly before any stop string, and the stop string if one is complete.

        Of two that end at the same place the longer one counts, and of two that do not the one
        that ends first: so the result does not depend on how the text was cut into pieces.
        """
        if not self._stops:
            return text, None
        held = self._held + text
        found: tuple[int, int, str] | None = None
        for stop in self._stops:
            at = held.find(stop)
            if at >= 0 and (found is None or (at + len(stop), at) < found[:2]):
                found = (at + len(stop), at, stop)
        if found is not None:
            self._held = ""
            return held[: found[1]], found[2]
        keep = max(_overlap(held, stop) for stop in self._stops)
        cut = len(held) - keep
        self._held = held[cut:]
        return held[:cut], None

    def finish(self) -> str:
        """What was held back; it turned out to be no stop string."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """The length of the longest end of ``text`` that a stop string begins with."""
    for size in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:size]):
            return size
    return 0


def _is_byte_level(spec: dict[str, Any]) -> bool:
    decoder = spec.get("decoder") or {}
    if decoder.get("type") == "Sequence" and len(decoder["decoders"]) == 1:
        decoder = decoder["decoders"][0]
    return bool(decoder.get("type") == "ByteLevel")


def _byte_table(tokenizer: Any, size: int) -> list[bytes]:
    """The bytes of every token, as the library's ByteLevel decoder sees them.

    A token with a character outside GPT-2's alphabet of bytes stands for its own UTF-8.
    """
    alphabet = _byte_alphabet()
    table = []
    for token in range(size):
        text = tokenizer.id_to_token(token)
        if text is None:
            table.append(b"")
            continue
        values = [alphabet.get(char) for char in text]
        if any(value is None for value in values):
            table.append(text.encode())
        else:
            table.append(bytes(value for value in values if value is not None))
    return table


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's: printable bytes stand for themselves, the others for characters from U+0100 on."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    alphabet = {chr(value): value for value in plain}
    others = [value for value in range(256) if value not in set(plain)]
    alphabet.update({chr(0x100 + place): value for place, value in enumerate(others)})
    return alphabet
