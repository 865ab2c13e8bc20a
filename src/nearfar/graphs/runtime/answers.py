"""A person's answer in the shape that the question asks for."""

from dataclasses import dataclass
from typing import Any, Literal

from nearfar.errors import RunStateError, UsageError
from nearfar.storage.journal import Record


@dataclass(frozen=True)
class Answer:
    """Yes, no, yes with changes, or any value.

    A question of LangChain's human-in-the-loop middleware, and of our tools, gets its decisions; any
    other question gets True, False or the value.
    """

    kind: Literal["approve", "reject", "edit", "value"]
    value: Any = None  # of an edit or a value; of a rejection: why

    def to(self, record: Record, question: str | None = None) -> Any:
        """What the run is resumed with. Raises RunStateError, UsageError."""
        asked = {one["id"]: one["value"] for one in record.questions}
        if record.status != "waiting":
            raise RunStateError(
                f"The run {record.id} does not wait for an answer: it is {record.status}.",
                data={"run_id": record.id, "status": record.status},
            )
        if question is not None and question not in asked:
            raise UsageError(
                f"The run does not ask {question!r}.",
                remedy=f"It asks: {', '.join(map(str, asked))}.",
            )
        chosen = {question: asked[question]} if question is not None else asked
        if self.kind == "value" and question is None:
            return self.value
        return {name: self._shaped(value) for name, value in chosen.items() if name} or None

    def _shaped(self, asked: Any) -> Any:
        if self.kind == "value":
            return self.value
        requests = asked.get("action_requests") if isinstance(asked, dict) else None
        if not isinstance(requests, list):
            return {"approve": True, "reject": False}.get(self.kind, self.value)
        return {"decisions": [self._decision(request) for request in requests]}

    def _decision(self, request: Any) -> dict[str, Any]:
        if self.kind == "reject":
            return {"type": "reject", **({"message": self.value} if self.value else {})}
        if self.kind == "approve":
            return {"type": "approve"}
        return {"type": "edit", "edited_action": {"name": request["name"], "args": self.value}}
