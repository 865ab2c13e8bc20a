"""Unsafe content, by rules that can be read: what they are looking for stands here.

A rule is a pair of word lists that must meet within a sentence's length. That finds plain requests in
English. It understands nothing: other words, other languages, spelling and irony pass, and a
historian's question may not.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from .folding import folded

if TYPE_CHECKING:
    from nearfar.settings import ContentSettings

_HOW = (
    r"how (?:to|do (?:i|you|we)|can (?:i|you|we)|would (?:i|you|one))|instructions? (?:for|to|on)|steps? (?:to|for)"
    r"|recipe for|guide (?:to|for|on)|teach me(?: how)? to|show me how to|tell me how to|help me(?: to)?"
    r"|ways? to|(?:write|create|make|build|give|generate|develop|code)(?: me)?"
)
_MAKE = r"make|build|construct|assemble|create|cook|synthesi[sz]e|prepare|produce|mix|brew|detonate|plant|print"

RULES: dict[str, tuple[tuple[str, str], ...]] = {
    "weapons": (
        (
            rf"(?:{_HOW}) (?:[\w'-]{{1,20}} ){{0,3}}?(?:{_MAKE})",
            (r"(?:pipe |nail |fertili[sz]er |car |dirty |petrol |home ?made )?bombs?|explosives?|grenades?|molotov"
            r"|nerve (?:gas|agent)s?|sarin|mustard gas|ricin|anthrax|thermite|ghost guns?|silencers?|suppressors?"
            r"|detonators?|improvised explosive|ieds?"),
        ),
    ),
    "self_harm": (
        (
            rf"(?:{_HOW}|i want to|i am going to|i'm going to|best|painless|quickest|easiest)",
            (r"(?:kill|hang|hurt|harm|cut|poison|drown) myself|end my (?:own )?life|commit suicide|suicide methods?"
            r"|(?:take|taking) my own life|lethal (?:dose|overdose)"),
        ),
    ),
    "malware": (
        (
            _HOW,
            (r"ransomware|keyloggers?|computer (?:virus|worm)|trojans?|botnets?|rootkits?|malware|spyware"
            r"|phishing (?:page|mail|email|site|kit|message)s?|ddos (?:attack|tool)s?|credential stealers?"),
        ),
    ),
    "violence": (
        (
            rf"{_HOW}|i want to|i will|i am going to|i'm going to",
            (r"(?:kill|murder|poison|stab|shoot|strangle|torture|kidnap) (?:my|his|her|someone|somebody|people"
            r"|him|them|wife|husband|neighbou?rs?|boss|children|crowd)"),
        ),
    ),
    "minors": (
        (
            r"sex(?:ual(?:i[sz]ed)?|y)?|erotic|nude|naked|porn\w{0,8}|nsfw",
            r"child(?:ren)?|minors?|under ?age|pre-?teens?|toddlers?|(?:school|little) ?(?:girl|boy)s?|1[0-7][- ]years?[- ]old",
        ),
    ),
    "injection": (
        (
            r"ignore|disregard|forget|override|bypass|do not follow|don't follow",
            (r"(?:all |any |your |the |these |those |my ){0,4}(?:previous|prior|above|earlier|preceding|system|original"
            r"|initial|safety) (?:instructions?|prompts?|rules?|directions?|messages?|guidelines?)"),
        ),
        (
            r"reveal|print|show|repeat|output|leak|tell me",
            r"(?:your |the )(?:system|hidden|initial|secret) (?:prompt|instructions?|message)",
        ),
        (r"you are now|act as|pretend to be|enter|enable", r"dan\b|jailbroken|developer mode|unrestricted (?:ai|model|mode)"),
    ),
}  # fmt: skip
"""Category -> pairs of words that must stand in one sentence in this order (for ``minors``, in any)."""
_ANY_ORDER = frozenset({"minors"})
_REACH = 120
_END = re.compile(r"[.!?\n]")


class Rules:
    """Looks for the categories whose action is not "allow"."""

    def __init__(self, settings: "ContentSettings") -> None:
        self.actions = settings.actions
        self._rules: dict[str, list[Rule]] = {
            category: [
                *_built_in(category),
                *(_whole(pattern) for pattern in settings.patterns.get(category, ())),
            ]
            for category, action in settings.actions.items()
            if action != "allow"
        }

    def look(self, texts: Iterable[str]) -> dict[str, int]:
        """How many rules of each category have found something."""
        text = folded("\n".join(texts))
        found = {
            category: sum(1 for rule in rules if rule(text))
            for category, rules in self._rules.items()
        }
        return {category: count for category, count in found.items() if count}

    def blocked(self, found: Mapping[str, int]) -> list[str]:
        """Categories that are found and must go nowhere."""
        return sorted(c for c in found if self.actions[c] == "block")


Rule = Callable[[str], bool]


def _built_in(category: str) -> Iterable[Rule]:
    for first, second in RULES.get(category, ()):
        yield _pair(first, second)
        if category in _ANY_ORDER:
            yield _pair(second, first)


def _pair(first: str, second: str) -> Rule:
    """Looks for ``second``, which is rare, and then for ``first`` before it in the same sentence."""
    before = re.compile(rf"\b(?:{first})\b", re.IGNORECASE)
    after = re.compile(rf"\b(?:{second})\b", re.IGNORECASE)

    def fits(text: str) -> bool:
        looked = 0
        for found in after.finditer(text):
            start = max(looked, found.start() - _REACH)
            sentence = _END.split(text[start : found.start()])[-1]
            if before.search(sentence):
                return True
            looked = max(looked, found.start() - _REACH // 2)
        return False

    return fits


def _whole(pattern: str) -> Rule:
    compiled = re.compile(pattern, re.IGNORECASE)
    return lambda text: compiled.search(text) is not None
