"""What makes two requests the same request.

A key is a sha256 of everything that can change the answer: the models that may give it and their
parameters, every message, tools, options, tenant, and whether it may leave this machine. For a
semantic cache there is a second one, of all but the words of the last turn: its ``context``.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from .upkeep import tenant_digest

_PARAMETERS = (
    *("temperature", "top_p", "top_k", "seed", "max_tokens", "repetition_penalty", "stop"),
    *("frequency_penalty", "presence_penalty", "reasoning_effort", "model_kwargs", "extra_body"),
)
_NUMBER = re.compile(r"\d+(?:[.,:/-]\d+)*")
_WORD = re.compile(r"\w+(?:['\u2019]\w+)?")
_SHARP = frozenset(
    {
        *("no", "not", "never", "none", "nothing", "nobody", "neither", "nor", "without", "cannot"),
        *("nicht", "kein", "keine", "keinen", "nie", "ohne", "ne", "pas", "jamais", "sans", "sin"),
        *(
            "nunca",
            "non",
            "mai",
            "senza",
            "except",
            "only",
            "all",
            "any",
            "every",
            "before",
            "after",
        ),
        *("first", "last", "next", "previous", "more", "less", "fewer", "most", "least", "minimum"),
        *(
            "maximum",
            "min",
            "max",
            "increase",
            "decrease",
            "raise",
            "lower",
            "higher",
            "add",
            "remove",
        ),
        *("enable", "disable", "allow", "deny", "forbid", "start", "stop", "open", "close", "lock"),
        *(
            "unlock",
            "on",
            "off",
            "in",
            "out",
            "up",
            "down",
            "left",
            "right",
            "above",
            "below",
            "over",
        ),
        *("under", "inside", "outside", "with", "from", "to", "buy", "sell", "send", "receive"),
        *("import", "export", "install", "uninstall", "true", "false", "safe", "dangerous", "old"),
        *("new", "yes", "today", "tomorrow", "yesterday", "encrypt", "decrypt", "push", "pull"),
    }
)
"""Words that turn a question into another one and hardly turn its vector."""
LONGEST_TURN = 250
"""Characters. In a longer turn another word, or the part that the model does not see, hardly counts."""


class Uncacheable(Exception):  # noqa: N818  (control flow: the request is asked as ever)
    """The request holds something whose sameness nobody can tell; the message says what."""


@dataclass(frozen=True)
class Asked:
    """A request as the cache sees it; ``models`` are ``identity`` of those that may answer."""

    models: Sequence[Mapping[str, Any]]
    messages: Sequence[BaseMessage]
    tools: Sequence[Mapping[str, Any]] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    tenant: str | None = None
    private: bool = False
    tags: frozenset[str] = frozenset()

    @property
    def is_sampled(self) -> bool:
        """Whether a temperature above 0 was set, by the request or on a model."""
        if "temperature" in self.options:
            return bool(self.options["temperature"])
        return any(model.get("temperature") for model in self.models)


@dataclass(frozen=True)
class Key:
    """``context`` and ``text`` are None where only the same request can be a hit."""

    exact: bytes
    tenant: bytes
    context: bytes | None = None
    text: str | None = field(default=None, repr=False)


def identity(provider: str, base_url: str | None, model_id: str, model: BaseChatModel) -> Any:
    """A model and how it was set up, as far as that changes its answers."""
    values = {name: getattr(model, name, None) for name in _PARAMETERS}
    set_up = {name: value for name, value in values.items() if value is not None}
    return {"provider": provider, "base_url": base_url, "model": model_id, **set_up}


def key_of(asked: Asked, *, vectors: str | None = None) -> Key:
    """The key of a request; ``vectors`` names the embedding model of a semantic cache.

    Raises Uncacheable.
    """
    head = [
        list(asked.models),
        list(asked.tools),
        sorted(asked.options.items()),
        asked.private,
        sorted(asked.tags),
    ]
    messages = [_plain(message) for message in asked.messages]
    text = _last_turn(asked.messages) if vectors is not None else None
    return _key([head, messages], asked.tenant, vectors, text, [head, messages[:-1]])


def key_of_prompt(
    prompt: str, llm_string: str, tenant: str | None, *, vectors: str | None = None
) -> Key:
    """The key of what LangChain hands to a cache: a model's name and parameters, and a prompt.

    A chat's prompt is the JSON of its messages.
    """
    context, text = prompt, None
    if vectors is not None:
        context, text = _turn_in_json(prompt)
    return _key([llm_string, prompt], tenant, vectors, text, [llm_string, context])


def word_digests(text: str) -> tuple[bytes, bytes]:
    """Of the words sorted, and of the words in their order: "a to b" is not "b to a"."""
    words = _WORD.findall(text.casefold())
    return _digest(sorted(words)), _digest(words)


def _key(whole: Any, tenant: str | None, vectors: str | None, text: str | None, rest: Any) -> Key:
    if not (tenant is None or isinstance(tenant, str)):
        raise Uncacheable("its tenant is not text")
    owner = tenant_digest(tenant)
    exact = _digest(["exact", whole, owner.hex()])
    if text is None or not text.strip() or len(text) > LONGEST_TURN:
        return Key(exact, owner)
    context = _digest(["context", rest, owner.hex(), vectors, _sharp_words(text)])
    return Key(exact, owner, context, text)


def _sharp_words(text: str) -> Any:
    """Numbers and such words must be the same in two turns that share an answer."""
    words = [word.replace("\u2019", "'") for word in _WORD.findall(text.casefold())]
    plain = ("not" if word.endswith("n't") else word for word in words)
    return [_NUMBER.findall(text), sorted(word for word in plain if word in _SHARP)]


def _last_turn(messages: Sequence[BaseMessage]) -> str | None:
    """The words of the user's last turn, if the request ends with it and it is nothing but words."""
    if not messages or not isinstance(messages[-1], HumanMessage):
        return None
    return _text(messages[-1].content)


def _text(content: Any) -> str | None:
    if isinstance(content, str):
        return content
    if all(isinstance(b, dict) and b.get("type") == "text" for b in content):
        return "\n".join(str(block.get("text", "")) for block in content)
    return None


def _turn_in_json(prompt: str) -> tuple[str, str | None]:
    """What stands before the last turn, and that turn; a prompt that is no chat is all one turn."""
    try:
        messages = json.loads(prompt)
        last = messages[-1]["kwargs"]
        if last["type"] != "human":
            return prompt, None
        return json.dumps(messages[:-1]), _text(last["content"])
    except (ValueError, TypeError, KeyError, IndexError):
        return "", prompt


def _plain(message: BaseMessage) -> dict[str, Any]:
    """A message without what differs from one time to the next: ids, usage, metadata."""
    plain: dict[str, Any] = {
        "type": message.type.removesuffix("MessageChunk").lower(),
        "content": message.content,
        "name": message.name,
        "more": message.additional_kwargs,
        "role": getattr(message, "role", None),
    }
    if isinstance(message, AIMessage):
        plain["calls"] = [[c["name"], c["args"], c["id"]] for c in message.tool_calls]
        plain["invalid"] = [[c["name"], c["args"]] for c in message.invalid_tool_calls]
    if isinstance(message, ToolMessage):
        plain["result_of"] = [message.tool_call_id, message.status]
    return plain


def _digest(value: Any) -> bytes:
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise Uncacheable(f"the request is not plain JSON: {error}") from None
    return hashlib.sha256(text.encode(errors="surrogatepass")).digest()
