"""What a check found, and all checks together."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Check:
    """One thing that was tried. ``remedy`` is empty when there is nothing to do."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""


@dataclass(frozen=True)
class Report:
    """All checks, in the order in which they were made."""

    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        return all(check.ok for check in self.checks)

    def to_dict(self) -> dict[str, Any]:
        """What ``nearfar doctor --json`` prints."""
        return {"ok": self.ok, "checks": [asdict(check) for check in self.checks]}
