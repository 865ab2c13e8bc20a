"""``approve``: a draft, a person who approves, edits or rejects it, and only then the deed.

draft -> review -> act
|
+-- rejected: nothing is done
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from langchain_core.language_models import BaseChatModel
from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt
from pydantic import Field
from typing_extensions import TypedDict

from nearfar.errors import EffectNotDoneError, StorageError, UsageError
from nearfar.settings import Settings, resolve
from nearfar.storage import atomic_write

from .registry import Graph
from .runtime.effects import NOT_DONE, Done, NotDone, effect
from .steps import Reply, Update, both_ways

Act = Callable[[str, str | None], Any]  # called with the approved text and ``to``

_YES = {"approve", "approved", "yes", "y", "true", "ok"}
_NO = {"reject", "rejected", "no", "n", "false"}


class ApproveInput(TypedDict, total=False):
    """What is to be approved: a draft, or a request that the model writes one for."""

    request: Annotated[str | None, Field(description="What the model is to draft.")]
    draft: Annotated[str | None, Field(description="A draft, instead of a request.")]
    to: Annotated[str | None, Field(description="The file that the approved text is written to.")]
    model: Annotated[str | None, Field(description="The model or router that drafts.")]


class ApproveOutput(TypedDict):
    """How it ended."""

    decision: str  # "approved", "edited" or "rejected"
    text: str
    reason: str | None  # of a rejection
    result: Any  # what the deed returned


class ApproveState(ApproveOutput):
    """Between the steps."""

    request: str | None
    draft: str | None
    to: str | None
    model: str | None


def build_approve(
    act: Act | None = None,
    model: BaseChatModel | None = None,
    settings: Settings | str | Path | None = None,
) -> Graph:
    """The graph. ``act`` is what is done with an approved text; by default it is written to ``to``.

    Make ``act`` an effect (``@nearfar.effect()``) so that it is done once whatever happens.
    """
    chosen = resolve(settings)
    work = _Approve(act or write, needs_file=act is None, model=model, settings=chosen)
    graph = StateGraph(ApproveState, input_schema=ApproveInput, output_schema=ApproveOutput)
    graph.add_node("draft", both_ways("draft", work.draft))
    graph.add_node("review", review)
    graph.add_node("act", work.act)
    graph.add_edge(START, "draft")
    graph.add_edge("draft", "review")
    graph.add_conditional_edges("review", _after_review, {"act": "act", "rejected": END})
    graph.add_edge("act", END)
    return graph.compile(name="approve")


def _after_review(state: ApproveState) -> str:
    return "rejected" if state["decision"] == "rejected" else "act"


def was_written(text: str, to: str | None) -> Done | NotDone:
    """Whether the file holds the text already."""
    path = Path(str(to))
    held = path.is_file() and path.read_bytes() == text.encode()
    return Done({"written": str(path)}) if held else NOT_DONE


@effect(reconcile=was_written)
def write(text: str, to: str | None) -> dict[str, str]:
    """Write the text to the file, whole or not at all."""
    try:
        atomic_write(Path(str(to)), text)
    except StorageError as error:
        raise EffectNotDoneError(error.message, remedy=error.remedy, data=error.data) from error
    return {"written": str(to)}


def review(state: ApproveState) -> Update:
    """Wait for the person; what is not understood is asked again."""
    draft = str(state["draft"])
    problem = None
    while True:
        answer = interrupt(_question(draft, state.get("to"), problem))
        update = _understood(draft, answer)
        if update is not None:
            return update
        problem = 'Answer approve, reject, or {"type": "edit", "text": "..."}.'


def _question(draft: str, to: str | None, problem: str | None) -> dict[str, Any]:
    """In the shape of LangChain's human-in-the-loop middleware, as our tools ask."""
    action = {"name": "act", "args": {"text": draft, "to": to}, "description": problem or draft}
    allowed = {"action_name": "act", "allowed_decisions": ["approve", "edit", "reject"]}
    return {"action_requests": [action], "review_configs": [allowed]}


def _understood(draft: str, answer: Any) -> Update | None:
    if isinstance(answer, dict) and isinstance(answer.get("decisions"), list):
        answer = answer["decisions"][0] if len(answer["decisions"]) == 1 else None
    given = dict(answer) if isinstance(answer, dict) else {"type": answer}
    if isinstance(given.get("edited_action"), dict):
        args = given["edited_action"].get("args")
        given["text"] = args.get("text") if isinstance(args, dict) else args
    kind = str(given.get("type", "")).strip().lower()
    update: Update = {"text": draft, "reason": None, "result": None}
    if kind in _YES:
        return {**update, "decision": "approved"}
    if kind in _NO:
        why = given.get("message") or given.get("reason")
        return {**update, "decision": "rejected", "reason": None if why is None else str(why)}
    if kind == "edit" and isinstance(given.get("text"), str) and given["text"].strip():
        return {**update, "text": given["text"], "decision": "edited"}
    return None


class _Approve:
    def __init__(
        self, act: Act, *, needs_file: bool, model: BaseChatModel | None, settings: Settings
    ) -> None:
        self._act = act
        self._needs_file = needs_file
        self._model = model
        self._settings = settings

    def draft(self, state: ApproveState) -> Any:
        """The text that the person sees."""
        if self._needs_file and not state.get("to"):
            raise UsageError("Nothing says where the approved text goes.", remedy="Add --to FILE.")
        given, request = state.get("draft"), state.get("request")
        if bool(given) == bool(request):
            raise UsageError("Give either a draft or a request.", remedy="Add --draft TEXT.")
        to = state.get("to")
        place = {"to": str(Path(to).absolute()) if to and self._needs_file else to}
        if given:
            return {"draft": given, **place}
        model = self._model
        if model is None or state.get("model"):
            from nearfar.llm import chat_model

            model = chat_model(state.get("model"), settings=self._settings)
        reply = yield Reply(model, [("user", str(request))])  # type: ignore[list-item]
        return {"draft": str(reply.text).strip(), **place}

    def act(self, state: ApproveState) -> Update:
        """What was approved is done."""
        return {"result": self._act(state["text"], state.get("to"))}
