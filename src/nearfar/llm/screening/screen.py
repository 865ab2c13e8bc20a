"""What is looked for in each request of a router, before a cache or a model sees it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_core.messages import BaseMessage

from nearfar.errors import ContentBlockedError
from nearfar.settings import Settings

from .content import gathered, outer_words
from .personal import Detector, told
from .unsafe import Rules


@dataclass(frozen=True)
class Finding:
    """Kinds and counts: never the text. ``keep_near`` says that the request must not leave this machine."""

    found: Mapping[str, int] = field(default_factory=dict)
    keep_near: bool = False

    @property
    def words(self) -> str:
        """For people."""
        return told(self.found)


class Screen:
    """Personal data by a Detector, unsafe content by Rules; either may be off."""

    def __init__(self, detector: Detector | None = None, rules: Rules | None = None) -> None:
        self._detector = detector
        self._rules = rules

    @classmethod
    def open(cls, settings: Settings) -> "Screen | None":
        """As the settings say; None where nothing is looked for. Raises ConfigurationError."""
        privacy, content = settings.privacy, settings.content
        detector = Detector(privacy) if privacy.is_on else None
        rules = Rules(content) if content.is_on else None
        return cls(detector, rules) if detector or rules else None

    def look(
        self,
        messages: Sequence[BaseMessage],
        tools: Sequence[Any] = (),
        options: Mapping[str, Any] | None = None,
    ) -> Finding:
        """What a request holds. Raises ContentBlockedError where its content is to go nowhere."""
        found: dict[str, int] = {}
        near = False
        if self._rules is not None:
            unsafe = self._rules.look(outer_words(messages))
            blocked = self._rules.blocked(unsafe)
            if blocked:
                raise ContentBlockedError(
                    f"The request is blocked by the rules for {', '.join(blocked)}.",
                    data={"categories": blocked},
                )
            found.update(unsafe)
            near = bool(unsafe)
        if self._detector is not None:
            personal = self._detector.look(gathered(messages, tools, options or {}))
            found.update(personal)
            near = near or bool(personal)
        return Finding(found, near)
