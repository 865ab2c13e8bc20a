"""The prompts of the ask workflow, and how much of the passages a model can be given."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage
from langchain_core.messages.utils import count_tokens_approximately

from nearfar.errors import ContextWindowError
from nearfar.llm import supports_grammar

_REPLY_TOKENS = 512  # for the reply, where the window is large enough
_REPLY_SHARE = 4  # in a small window: one part in four
_CHARACTERS_PER_TOKEN = 3.0  # where a model does not count exactly, rather too many than too few


@dataclass(frozen=True)
class Ability:
    """What can be asked of a model; it is declared by the model, never guessed from its name."""

    extractive: bool  # it only finds the sentence that answers (nearfar.json: "answers": "quote")
    grammar: bool
    window: int | None  # tokens of prompt and reply; None: not known
    exact: bool  # it counts tokens itself

    @classmethod
    def of(cls, model: BaseChatModel) -> "Ability":
        """Read from the model's profile and, for a local one, what its folder declares."""
        info = getattr(model, "info", None)
        grammar = supports_grammar(model)
        profile: Any = model.profile or {}
        return cls(
            extractive=grammar and getattr(info, "answers", None) == "quote",
            grammar=grammar,
            window=profile.get("max_input_tokens"),
            exact=grammar,
        )

    def reply_tokens(self) -> int:
        """How many tokens are kept free for the reply."""
        return min(_REPLY_TOKENS, self.window // _REPLY_SHARE) if self.window else _REPLY_TOKENS


@lru_cache
def text(name: str) -> str:
    """The prompt in the file ``name``.md."""
    return (Path(__file__).parent / f"{name}.md").read_text(encoding="utf-8").strip()


def with_passages(name: str, passages: Sequence[str], question: str) -> list[BaseMessage]:
    """The prompt ``name`` over numbered passages and a question."""
    numbered = [f"[{n}] {' '.join(passage.split())}" for n, passage in enumerate(passages, 1)]
    listed = "\n".join(numbered)
    return [SystemMessage(text(name)), HumanMessage(f"{listed}\n\nQuestion: {question}")]


def count(model: BaseChatModel, ability: Ability, messages: Sequence[BaseMessage]) -> int:
    """Tokens of a prompt: the model's own count, or an estimate on the safe side."""
    if ability.exact:
        return model.get_num_tokens_from_messages(list(messages))
    return count_tokens_approximately(messages, chars_per_token=_CHARACTERS_PER_TOKEN)


def fitting(
    model: BaseChatModel, ability: Ability, name: str, passages: Sequence[str], question: str
) -> list[str]:
    """The passages that fit, the first ones first; the last are dropped one by one.

    Raises ContextWindowError when the question alone does not fit.
    """
    if ability.window is None:
        return list(passages)
    room = ability.window - ability.reply_tokens()
    kept = list(passages)
    while True:
        used = count(model, ability, with_passages(name, kept, question))
        if used <= room:
            return kept
        if not kept:
            raise ContextWindowError(
                f"The question is too long for the model: with its instructions it has {used} "
                f"tokens, and the model takes {room} beside its answer.",
                remedy="Ask a shorter question, or use a model with a larger window.",
                data={"prompt_tokens": used, "window": room},
            )
        kept.pop()
