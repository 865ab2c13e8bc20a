"""A conversation made shorter for a candidate with a small window, always in the same way.

System messages, the user's last turn and what belongs to it stay, and so do calls of tools that have
no result yet. Of the rest, whole turns go, the oldest first; a call never goes without its result.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

_SYSTEM_ROLES = frozenset({"system", "developer"})
_USER_ROLES = frozenset({"user", "human"})


@dataclass(frozen=True)
class Shortened:
    """What is left of a conversation, and how much went."""

    messages: list[BaseMessage]
    turns: int
    dropped: int
    """Messages in these turns."""


def shortened(
    messages: Sequence[BaseMessage], fits: Callable[[list[BaseMessage]], bool]
) -> Shortened | None:
    """As little shorter as makes it fit; None where it does not fit at its shortest either.

    ``fits`` must hold for what is shorter where it holds for what is longer; it is asked a few times
    (log2 of the number of turns).
    """
    turns = _droppable(messages)
    if not turns or not fits(_without(messages, turns)):
        return None
    low, high = 0, len(turns)  # so many turns are too few to drop; so many are enough
    while high - low > 1:
        middle = (low + high) // 2
        if fits(_without(messages, turns[:middle])):
            high = middle
        else:
            low = middle
    dropped = turns[:high]
    return Shortened(_without(messages, dropped), high, sum(map(len, dropped)))


def _without(messages: Sequence[BaseMessage], turns: Sequence[list[int]]) -> list[BaseMessage]:
    gone = {place for turn in turns for place in turn}
    return [message for place, message in enumerate(messages) if place not in gone]


def _droppable(messages: Sequence[BaseMessage]) -> list[list[int]]:
    """The places of the messages of each turn that may go, oldest first."""
    turns = _tied(messages, _turns(messages))
    return [turn for turn in turns[:-1] if not _is_pending(messages, turn)]


def _turns(messages: Sequence[BaseMessage]) -> list[list[int]]:
    """A turn begins with what the user says, in one message or several, and ends before the next."""
    turns: list[list[int]] = []
    after_user = False
    for place, message in enumerate(messages):
        if _is_system(message):
            continue
        user = _is_user(message)
        if not turns or (user and not after_user):
            turns.append([])
        turns[-1].append(place)
        after_user = user
    return turns


def _tied(messages: Sequence[BaseMessage], turns: list[list[int]]) -> list[list[int]]:
    """Turns as one where a result stands in a later turn than its call."""
    tied: list[list[int]] = []
    called: dict[str, int] = {}  # by the call's id, the place in `tied`
    for turn in turns:
        tied.append(list(turn))
        first = here = len(tied) - 1
        for place in turn:
            message = messages[place]
            if isinstance(message, ToolMessage):
                first = min(first, called.get(message.tool_call_id, here))
            called.update(dict.fromkeys(_calls(messages, [place]), here))
        for _ in range(here - first):
            last = tied.pop()
            tied[-1] += last
        called = {call: min(at, first) for call, at in called.items()}
    return tied


def _is_pending(messages: Sequence[BaseMessage], turn: list[int]) -> bool:
    results = {m.tool_call_id for p in turn if isinstance(m := messages[p], ToolMessage)}
    return not results.issuperset(_calls(messages, turn))


def _calls(messages: Sequence[BaseMessage], turn: list[int]) -> list[str]:
    return [
        str(call["id"])
        for place in turn
        if isinstance(message := messages[place], AIMessage)
        for call in message.tool_calls
    ]


def _is_system(message: BaseMessage) -> bool:
    if isinstance(message, ChatMessage):
        return message.role.lower() in _SYSTEM_ROLES
    return isinstance(message, SystemMessage)


def _is_user(message: BaseMessage) -> bool:
    if isinstance(message, ChatMessage):
        return message.role.lower() in _USER_ROLES
    return isinstance(message, HumanMessage)
