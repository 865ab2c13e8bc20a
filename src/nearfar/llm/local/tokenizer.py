"""Text to token ids and back, by the model's own ``tokenizer.json``.

A chat template puts control tokens such as ``<|im_end|>`` around what people wrote. If somebody
writes ``<|im_end|>`` in a message, it must stay text: otherwise a message could end itself and
speak as the system. So every string that comes from outside goes through a ``Shield`` before the
template sees it: where it holds a control token, or could become one together with its
neighbours, a mark (a character that occurs nowhere else) is put in between. In the rendered text
the control tokens that are left whole are the template's own, and the stretches with marks are
encoded, without the marks, by a tokenizer that knows no control tokens. Nothing else changes:
text that holds no control token has the ids that plain encoding gives it.
"""

import json
import re
import secrets
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from nearfar.errors import ModelLoadError, UnsupportedInputError

_UNKNOWN = "<unk>"
_MARKS = range(0xF0000, 0xFFFFE)  # a private plane: no meaning in any text


class Shield:
    """Makes strings from outside harmless for one rendering; see the module's docstring."""

    def __init__(self, tokenizer: "TextTokenizer", mark: str) -> None:
        self.mark = mark
        self._tokenizer = tokenizer

    def protect(self, text: str) -> str:
        """``text`` with marks where a control token could come about; mostly ``text`` itself."""
        return self._tokenizer.mark_controls(text, self.mark)

    def protect_all(self, value: Any) -> Any:
        """Protect every string within lists and dicts, keys included."""
        if isinstance(value, str):
            return self.protect(value)
        if isinstance(value, dict):
            return {self.protect_all(key): self.protect_all(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.protect_all(item) for item in value]
        return value


class TextTokenizer:
    """The tokenizer of a model folder. Safe to use from several threads.

    Raises ModelLoadError if ``tokenizer.json`` is not there or cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        from tokenizers import Tokenizer

        file = folder / "tokenizer.json"
        try:
            self._source = file.read_text(encoding="utf-8")
            self._whole = Tokenizer.from_str(self._source)
        except Exception as error:  # tokenizers raises plain Exception
            raise ModelLoadError(
                f"The tokenizer {file} cannot be read: {str(error)[:200]}",
                remedy="Put the tokenizer.json of the model into its folder.",
                data={"folder": str(folder), "file": "tokenizer.json"},
            ) from error
        self._whole.no_truncation()
        self._whole.no_padding()
        added = self._whole.get_added_tokens_decoder()
        self.special_ids: dict[str, int] = {token.content: id_ for id_, token in added.items()}
        """All added tokens by their text, the model's control tokens among them."""
        self.marked_special: dict[str, int] = {
            token.content: id_ for id_, token in added.items() if token.special
        }
        """The tokens that a decoder leaves out of the text."""
        unknown = getattr(self._whole.model, "unk_token", None) or _UNKNOWN  # what text may become
        self._controls = {
            id_: token
            for id_, token in added.items()
            if token.content != unknown and _is_control(token.content, token.special)
        }
        self.control_ids: frozenset[int] = frozenset(self._controls)
        """Tokens that text from outside never becomes."""
        self._patterns = _Patterns([t.content for t in self._controls.values()])
        self._normalized = any(t.normalized for t in self._controls.values())

    def encode(self, text: str, *, special: bool = True) -> list[int]:
        """Token ids of ``text``, without tokens that only a template adds (a begin token).

        With ``special=False`` control tokens in ``text`` are encoded as the characters they
        are written with. Lone surrogates become U+FFFD.
        """
        text = _well_formed(text)
        if special or not self._dangerous(text):
            return list(self._whole.encode(text, add_special_tokens=False).ids)
        return self._encode_ordinary(text, at_start=True)

    def encode_rendered(self, text: str, mark: str) -> list[int]:
        """Token ids of a rendered template: its own control tokens, everything marked as text."""
        text = _well_formed(text)
        if mark not in text:
            return self.encode(text)
        ids: list[int] = []
        run_start = segment_start = 0
        ends = [*((m.start(), m.end()) for m in self._spans.finditer(text)), (len(text), len(text))]
        for start, end in ends:
            if mark in text[segment_start:start]:
                ids += self.encode(text[run_start:segment_start])
                ordinary = text[segment_start:start].replace(mark, "")
                ids += self._encode_ordinary(ordinary, at_start=segment_start == 0)
                run_start = start
            segment_start = end
        return ids + self.encode(text[run_start:])

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ``ids``, control tokens included."""
        return str(self._whole.decode(list(ids), skip_special_tokens=False))

    def count(self, text: str) -> int:
        """Tokens of ``text`` as the content of a message."""
        return len(self.encode(text, special=False))

    def shield(self, texts: Iterable[str]) -> Shield:
        """A shield for a rendering in which all these texts (the template's too) take part."""
        present = set().union(*map(set, texts))
        mark = next((chr(c) for c in _MARKS if chr(c) not in present), None)
        if mark is None:
            raise UnsupportedInputError(
                "The text holds every character of a private plane of Unicode.",
                data={"type": "text"},
            )
        return Shield(self, mark)

    def mark_controls(self, text: str, mark: str) -> str:
        """See ``Shield.protect``."""
        if not self._patterns.single.isdisjoint(text):
            raise _no_way_to_say()
        if self._normalized and self._whole.normalizer is not None:
            plain = self._whole.normalizer.normalize_str(_well_formed(text))
            if self._patterns.touches(plain):
                return "".join(f"{mark}{character}" for character in text) + mark
        return self._patterns.mark(text, mark)

    def _dangerous(self, text: str) -> bool:
        if self._patterns.inside.search(text):
            return True
        if not self._normalized or self._whole.normalizer is None:
            return False
        return bool(self._patterns.inside.search(self._whole.normalizer.normalize_str(text)))

    def _encode_ordinary(self, text: str, *, at_start: bool) -> list[int]:
        tokenizer = self._plain_first if at_start else self._plain_later
        for pieces in ([text], self._patterns.cut(text), list(text)):
            ids = [i for p in pieces for i in tokenizer.encode(p, add_special_tokens=False).ids]
            if self.control_ids.isdisjoint(ids):
                return ids
        raise _no_way_to_say()

    @cached_property
    def _spans(self) -> re.Pattern[str]:
        """Control tokens with the blanks that they swallow."""
        tokens = sorted(self._controls.values(), key=lambda t: len(t.content), reverse=True)
        patterns = []
        for token in tokens:
            pattern = re.escape(token.content)
            if token.single_word:
                pattern = rf"(?<!\w){pattern}(?!\w)"
            patterns.append(
                (r"\s*" if token.lstrip else "") + pattern + (r"\s*" if token.rstrip else "")
            )
        return re.compile("|".join(patterns) or r"(?!)")

    @cached_property
    def _plain_first(self) -> Any:
        return self._without_controls(json.loads(self._source))

    @cached_property
    def _plain_later(self) -> Any:
        """For text that does not stand at the start: some tokenizers put a blank there."""
        content = json.loads(self._source)
        if not _never_prepend(content.get("pre_tokenizer")):
            return self._plain_first
        return self._without_controls(content)

    def _without_controls(self, content: dict[str, Any]) -> Any:
        from tokenizers import Tokenizer

        vocabulary = content["model"].get("vocab", {})
        known = set(
            vocabulary if isinstance(vocabulary, dict) else (item[0] for item in vocabulary)
        )
        kept = []
        for token in content["added_tokens"]:
            if self.special_ids[token["content"]] not in self.control_ids:
                kept.append(token)
            elif token["content"] not in known:
                # It holds its place in the numbering, under a name that no text can hold.
                kept.append(token | {"content": f"\U0010ffff{secrets.token_hex(16)}"})
        content.update(added_tokens=kept, post_processor=None, truncation=None, padding=None)
        return Tokenizer.from_str(json.dumps(content))


class _Patterns:
    """Where control tokens are, or could be once neighbours are joined."""

    def __init__(self, tokens: list[str]) -> None:
        tokens = [token for token in tokens if token]
        ordered = sorted(tokens, key=len, reverse=True)
        choices = "|".join(map(re.escape, ordered))
        self.inside = re.compile(choices or r"(?!)")
        self._starts = re.compile(f"(?=(?:{choices}))" if choices else r"(?!)")
        self._longest = max(map(len, tokens), default=0)
        self._heads = {token[:n] for token in tokens for n in range(1, len(token))}
        self._tails = {token[n:] for token in tokens for n in range(1, len(token))}
        self.single = {token for token in tokens if len(token) == 1}

    def touches(self, text: str) -> bool:
        return bool(self.inside.search(text)) or self._opens(text) or self._closes(text)

    def mark(self, text: str, mark: str) -> str:
        """Put ``mark`` after the first character of each control token, and at ends that fit one."""
        text = self._splice(text, mark)
        if self._closes(text):
            text += mark
        return mark + text if self._opens(text) else text

    def cut(self, text: str) -> list[str]:
        """The pieces of ``text`` when each control token is cut after its first character."""
        starts = [m.start() + 1 for m in self._starts.finditer(text)]
        return [text[a:b] for a, b in zip([0, *starts], [*starts, len(text)], strict=True)]

    def _splice(self, text: str, mark: str) -> str:
        return mark.join(self.cut(text)) if self.inside.search(text) else text

    def _opens(self, text: str) -> bool:
        """Whether ``text`` could go on a control token that begins before it."""
        ends = range(1, min(len(text), self._longest) + 1)
        return any(text[:n] in self._tails for n in ends)

    def _closes(self, text: str) -> bool:
        """Whether ``text`` could begin a control token that ends after it."""
        return any(text[-n:] in self._heads for n in range(1, min(len(text), self._longest) + 1))


def _is_control(content: str, special: bool) -> bool:
    """Added words and runs of blanks are text; all that is marked up or special is control."""
    marked_up = len(content) > 1 and any(not (c.isalnum() or c.isspace()) for c in content)
    return special or marked_up


def _no_way_to_say() -> UnsupportedInputError:
    return UnsupportedInputError(
        "The text holds a character that this model only has as a control token.",
        data={"type": "text"},
    )


def _never_prepend(pre_tokenizer: Any) -> bool:
    """Turn "a blank before the first piece" off in place; whether there was any."""
    if not isinstance(pre_tokenizer, dict):
        return False
    found = pre_tokenizer.get("prepend_scheme") == "first"
    if found:
        pre_tokenizer["prepend_scheme"] = "never"
    return any([found, *map(_never_prepend, pre_tokenizer.get("pretokenizers", []))])


def _well_formed(text: str) -> str:
    """Pairs of surrogates joined, lone ones replaced: Python holds them, UTF-8 does not."""
    if not _SURROGATES.search(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


_SURROGATES = re.compile("[\ud800-\udfff]")
