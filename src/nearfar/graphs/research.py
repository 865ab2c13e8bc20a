"""``research``: a question split up, looked up part by part, written up with citations, and reviewed.

    plan -> fetch -> researcher (one for each part, at once) -> write -> review -> finish
                                                                  ^        |
                                                                  +--------+  at most `revisions` times

Each researcher is the workflow ``ask``, so what it finds is quoted and checked. The writer sees
nothing but those quotes, and what it writes is checked against them again. A small extractive model
does not write: its report is the quotes themselves, under the questions that they answer.
"""

from pathlib import Path
from typing import Annotated, Any, Required

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import HumanMessage
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send
from pydantic import Field
from typing_extensions import TypedDict

from nearfar.agents.crew.state import Call, by_id, by_key
from nearfar.errors import UsageError
from nearfar.llm.steps import Steps
from nearfar.retrieval import Index
from nearfar.settings import Settings, resolve

from .answers import Citation
from .ask import build_ask
from .ask_prompts import Ability
from .citations import Checked, check, refuses
from .evidence import Found
from .pages import fetch_page
from .questions import listed_questions, points_back, split_question
from .registry import Graph
from .team import Did, Said, Team, ask_as, call_as, did, duty, report_of

NOTHING_FOUND = "The documents do not answer this question."


class ResearchInput(TypedDict, total=False):
    """A question, and where to look."""

    question: Required[str]
    docs: Annotated[list[str] | None, Field(description="Files and folders to look in.")]
    index: Annotated[str | None, Field(description="The name of an index, instead of docs.")]
    urls: Annotated[list[str] | None, Field(description="Web pages to look in, too.")]
    questions: Annotated[int, Field(ge=1, le=12, description="Parts it is split into, at most.")]
    revisions: Annotated[int, Field(ge=0, le=5, description="How often the report is rewritten.")]
    show_prompts: Annotated[bool, Field(description="Give all prompts that were sent.")]


class Finding(TypedDict):
    """What a researcher brought back."""

    id: str
    question: str
    answer: str
    answered: bool
    confidence: float
    citations: list[Citation]


class Review(TypedDict):
    """What the reviewer said last."""

    approved: bool
    problems: list[str]
    revisions: int


class ResearchOutput(TypedDict):
    """What ``nearfar run research --json`` prints as its output."""

    report: str
    answered: bool
    citations: list[Citation]
    findings: list[Finding]
    review: Review
    problems: list[str]  # pages that could not be read
    performance: dict[str, Any]
    prompts: list[dict[str, Any]]


class ResearchState(ResearchOutput):
    """Everything between the steps; plain JSON."""

    question: str
    docs: list[str] | None
    index: str | None
    urls: list[str] | None
    questions: int
    revisions: int
    show_prompts: bool
    plan: list[str]
    pages: dict[str, str]  # file -> URL
    findings: Annotated[list[Finding], by_id]
    calls: Annotated[list[Call], by_id]
    did: Annotated[dict[str, Did], by_key]
    draft: str


class Part(TypedDict):
    """What one researcher is sent."""

    task: str
    place: int
    question: str
    before: str | None  # the question that it points back to
    docs: list[str] | None
    index: str | None
    pages: dict[str, str]
    calls: list[Call]  # until here
    did: dict[str, Did]


def build_research(
    model: BaseChatModel | str | None = None,
    index: Index | None = None,
    settings: Settings | str | Path | None = None,
) -> Graph:
    """The graph, with any chat model (or the name of one) and any index.

    With an ``index`` the input names neither documents nor an index.
    """
    team = _Team(model, index, resolve(settings))
    graph = StateGraph(ResearchState, input_schema=ResearchInput, output_schema=ResearchOutput)
    graph.add_node("begin", team.begin)
    graph.add_node("plan", duty("plan", "planner", team.plan))
    graph.add_node("fetch", duty("fetch", "researcher", team.fetch))
    researcher: Any = duty("researcher", "researcher", team.look_up)
    graph.add_node("researcher", researcher)
    graph.add_node("write", duty("write", "writer", team.write))
    graph.add_node("review", duty("review", "reviewer", team.review))
    graph.add_node("finish", team.finish)
    graph.add_edge(START, "begin")
    graph.add_edge("begin", "plan")
    graph.add_edge("plan", "fetch")
    graph.add_conditional_edges("fetch", _parts, ["researcher"])
    graph.add_edge("researcher", "write")
    graph.add_edge("write", "review")
    graph.add_conditional_edges("review", _after_review, ["write", "finish"])
    graph.add_edge("finish", END)
    return graph.compile(name="research")


def _parts(state: ResearchState) -> list[Send]:
    plan = state["plan"]
    common = {key: state.get(key) for key in ("docs", "index", "pages", "calls", "did")}
    parts = [
        {
            "task": f"look up {place + 1}",
            "place": place,
            "question": question,
            "before": plan[0] if place and points_back(question) else None,
        }
        for place, question in enumerate(plan)
    ]
    return [Send("researcher", {**part, **common}) for part in parts]


def _after_review(state: ResearchState) -> str:
    review = state["review"]
    again = not review["approved"] and review["revisions"] < state.get("revisions", 1)
    return "write" if again else "finish"


class _Team(Team):
    """The roles."""

    def __init__(self, model: BaseChatModel | str | None, index: Index | None, s: Settings) -> None:
        super().__init__(model, s)
        self._index = index

    def begin(self, state: ResearchState) -> dict[str, Any]:
        """Check the input, and empty what a thread's last run left."""
        return {
            "question": self._check(state),
            "findings": None,
            "calls": None,
            "did": None,
            "draft": "",
            "review": Review(approved=False, problems=[], revisions=-1),
        }

    def plan(self, state: ResearchState) -> Steps:
        """The question as parts."""
        question, most = state["question"], state.get("questions", 4)
        if Ability.of(self.model).extractive or most == 1:
            return {"plan": split_question(question, most), "did": did("plan", "planner")}
        messages = self._prompts.get("research/plan").messages(question=question, most=most)
        said = yield from ask_as("planner", "plan", self.model, messages)
        plan = listed_questions(said.text, question, most)
        return {"plan": plan, "calls": said.calls, "did": did("plan", "planner")}

    def fetch(self, state: ResearchState) -> Steps:
        """Web pages as files, for the researchers; what cannot be read is told, and left out."""
        pages: dict[str, str] = {}
        problems: list[str] = []
        for url in state.get("urls") or []:
            file, problem = yield from fetch_page(url, self._settings)
            if file is None:
                problems.append(f"{url}: {problem}")
            else:
                pages[str(file)] = url
        if problems and not (pages or state.get("docs") or state.get("index") or self._index):
            raise UsageError(
                f"None of the pages could be read: {problems[0]}",
                remedy="Name other pages, or documents.",
                data={"problems": problems},
            )
        return {"pages": pages, "problems": problems}

    def look_up(self, part: Part) -> Steps:
        """One part of the question, answered by ``ask``; its sources are checked there."""
        given: dict[str, Any] = {"question": part["question"]}
        ask = build_ask(self.model, None if part["pages"] else self._index, self._settings)
        if part["pages"]:
            given["docs"] = [*(part["docs"] or []), *part["pages"]]
        elif self._index is None:
            given |= {"docs": part["docs"], "index": part["index"]}
        if part["before"]:
            given["messages"] = [HumanMessage(part["before"])]
        task = part["task"]
        said = yield from call_as("researcher", task, ask, given)
        answer, calls = said.reply, [*_before(said, task), *said.calls]
        if part["pages"] and (part["index"] or self._index) and not answer["answered"]:
            again = build_ask(self.model, self._index, self._settings)
            given = {"question": part["question"]}
            given |= {} if self._index else {"index": part["index"]}
            more = yield from call_as("researcher", task, again, given)
            answer, calls = more.reply, [*calls, *_before(more, task), *more.calls]
        citations = [
            {**c, "source": part["pages"].get(c["source"], c["source"])}
            for c in answer["citations"]
        ]
        found = {
            "id": f"{part['place']:02d}",
            "question": part["question"],
            "answer": answer["answer"],
            "answered": answer["answered"],
            "confidence": answer["confidence"],
            "citations": citations,
        }
        done = did(task, "researcher", ok=answer["answered"])
        return {"findings": [found], "calls": calls, "did": done}

    def write(self, state: ResearchState) -> Steps:
        """The report: the model's words over the evidence, or the quotes themselves."""
        found = _in_order(state)
        evidence = _evidence(found)
        review = state["review"].copy()
        review["revisions"] += 1
        tries = review["revisions"] + 1
        if not evidence:
            return {"draft": "", "review": review, "did": did("write", "writer", ok=False)}
        if Ability.of(self.model).extractive:
            draft = _quoted(state["question"], found, evidence)
            return {"draft": draft, "review": review, "did": did("write", "writer")}
        messages = self._prompts.get("research/write").messages(
            question=state["question"],
            evidence=[f"{c['quote']} ({_where(c)})" for c in evidence],
            feedback="\n".join(review["problems"]),
            draft=state["draft"] if review["problems"] else "",
        )
        said = yield from ask_as("writer", "write", self.model, messages)
        done = did("write", "writer", ok=bool(said.text), attempts=tries)
        return {"draft": said.text, "review": review, "calls": said.calls, "did": done}

    def review(self, state: ResearchState) -> Steps:
        """What rules find, and what the model finds; a small model is not asked."""
        found = _in_order(state)
        evidence = _evidence(found)
        review = state["review"]
        if not evidence or Ability.of(self.model).extractive:
            return {"review": {**review, "approved": True, "problems": []}}
        problems = _problems(state["draft"], _checked(state["draft"], evidence))
        calls: list[Call] = []
        if not problems:
            messages = self._prompts.get("research/review").messages(
                question=state["question"],
                evidence=[f"{c['quote']} ({_where(c)})" for c in evidence],
                draft=state["draft"],
            )
            said = yield from ask_as("reviewer", "review", self.model, messages)
            calls = said.calls
            lines = [line.strip(" -*") for line in said.text.splitlines() if line.strip()]
            approved = not lines or lines[0].upper().startswith("APPROVED")
            problems = [] if approved else lines[:5]
        update = {**review, "approved": not problems, "problems": problems}
        tries = review["revisions"] + 1
        done = did("review", "reviewer", attempts=tries)
        done |= did("write", "writer", ok=not problems, attempts=tries)
        return {"review": update, "calls": calls, "did": done}

    def finish(self, state: ResearchState) -> dict[str, Any]:
        """What holds of the report, with the citations that it uses."""
        found = _in_order(state)
        evidence = _evidence(found)
        output = report_of(state)
        if Ability.of(self.model).extractive or not evidence:
            report, used = state["draft"] or NOTHING_FOUND, evidence
        else:
            checked = _checked(state["draft"], evidence)
            numbers = {cited.n for cited in checked.cited}
            used = [citation for citation in evidence if citation["n"] in numbers]
            report = checked.answer or _quoted(state["question"], found, evidence)
            used = used if checked.answer else evidence
        answered = bool(used) and any(finding["answered"] for finding in found)
        return {
            **output, "report": report, "answered": answered, "citations": used, "findings": found,
        }  # fmt: skip

    def _check(self, state: ResearchState) -> str:
        question: object = state.get("question")
        if not isinstance(question, str) or not question.strip():
            raise UsageError("The question is empty.", remedy="Give it with --question.")
        if not (self._index or state.get("docs") or state.get("index") or state.get("urls")):
            raise UsageError(
                "Nothing says where to look.", remedy="Name --docs PATH..., --index NAME or --urls."
            )
        return question.strip()


def _before(said: Said, task: str) -> list[Call]:
    """What ``ask`` took before the run was resumed: it says so of its tokens, though not of its words."""
    answer = said.reply
    spent = answer["usage"]
    missing = {
        key: spent[key] - sum(call[key] for call in said.calls)
        for key in ("input_tokens", "output_tokens")
    }
    if max(missing.values()) <= 0:
        return []
    model = str(answer["model"])
    entry = Call(
        id=f"{task}/before", task=task, role="researcher", model=model, prompt=[], tools=[],
        reply="", input_tokens=missing["input_tokens"], output_tokens=missing["output_tokens"],
        cost_usd=None, latency_s=None, retries=0, error=None,
    )  # fmt: skip
    return [entry]


def _in_order(state: ResearchState) -> list[Finding]:
    return sorted(state.get("findings") or [], key=lambda finding: finding["id"])


def _evidence(findings: list[Finding]) -> list[Citation]:
    """All quotes, each once, numbered through."""
    distinct: dict[tuple[str, str], Citation] = {}
    for finding in findings:
        for citation in finding["citations"]:
            distinct.setdefault((citation["source"], citation["quote"]), citation)
    return [{**citation, "n": n} for n, citation in enumerate(distinct.values(), 1)]


def _quoted(question: str, findings: list[Finding], evidence: list[Citation]) -> str:
    """The quotes under the questions that they answer, in Markdown."""
    numbers = {(c["source"], c["quote"]): c["n"] for c in evidence}
    lines = [f"# {question}", ""]
    for finding in findings:
        if len(findings) > 1:
            lines += [f"## {finding['question']}", ""]
        said = [
            f"{' '.join(c['quote'].split())} [{numbers[c['source'], c['quote']]}]"
            for c in finding["citations"]
        ]
        lines += [*(said or [NOTHING_FOUND]), ""]
    return "\n".join(lines).strip()


def _checked(draft: str, evidence: list[Citation]) -> Checked:
    """The draft with only the citations that the evidence bears out."""
    if refuses(draft):
        return Checked("")
    passages = [
        Found(text=c["quote"], source=c["source"], page=c["page"], heading=c["heading"], score=0.0)
        for c in evidence
    ]
    return check(draft, passages)


def _problems(draft: str, checked: Checked) -> list[str]:
    """What rules find wrong with a draft."""
    if not draft or not checked.answer:
        return ["The report says nothing that the evidence bears out."]
    problems = []
    if checked.removed:
        problems.append(
            f"{checked.removed} citations or quotes do not stand in the evidence: take them out."
        )
    if not checked.cited:
        problems.append("No sentence names its evidence: write the number after each, as in [1].")
    return problems


def _where(citation: Citation) -> str:
    page = f", page {citation['page']}" if citation["page"] is not None else ""
    return f"{Path(citation['source']).name}{page}"
