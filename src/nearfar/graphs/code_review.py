"""``code_review``: a folder, a file or a diff, looked at by role; findings merged and ranked.

    collect -> correctness, security, maintainability (at once) -> merge

Each role has rules, which any model is happy with; a larger model is asked besides, and what it
reports is kept only where the file and the line exist (in a diff: where the line was changed). A
small extractive model cannot judge code and is not asked.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from langchain_core.language_models import BaseChatModel
from langgraph.graph import END, START, StateGraph
from pydantic import Field
from typing_extensions import TypedDict

from nearfar.agents.crew.state import Call, by_id, by_key
from nearfar.errors import UsageError
from nearfar.llm.steps import Steps
from nearfar.settings import Settings, resolve

from .ask_prompts import Ability
from .code_rules import ROLES, Role, look
from .registry import Graph
from .sentences import content_words
from .sources import Source, collect
from .team import Did, Team, ask_as, did, duty, report_of

_CHUNK_CHARS = 12_000  # of code that a model is shown at once
_CHUNKS = 40  # per role, at most
_NEAR = 1  # lines apart that two findings may be and still be one
_ALIKE = 0.5  # share of the words of their titles
_WEIGHT = {"high": 0, "medium": 1, "low": 2}
_LIST = {
    "type": "array",
    "maxItems": 12,
    "items": {
        "type": "object",
        "properties": {
            "line": {"type": "integer", "minimum": 1, "maximum": 1_000_000},
            "severity": {"enum": ["high", "medium", "low"]},
            "title": {"type": "string", "maxLength": 100},
            "detail": {"type": "string", "maxLength": 400},
        },
        "required": ["line", "severity", "title", "detail"],
        "additionalProperties": False,
    },
}


class CodeReviewInput(TypedDict, total=False):
    """What to review."""

    path: Annotated[str | None, Field(description="A file or folder; with a diff, its root.")]
    diff: Annotated[str | None, Field(description="A unified diff: its file, or its text.")]
    roles: Annotated[
        list[Literal["correctness", "security", "maintainability"]] | None,
        Field(description="Who reviews; all without it."),
    ]
    most: Annotated[int, Field(ge=1, description="Findings, at most.")]
    show_prompts: Annotated[bool, Field(description="Give all prompts that were sent.")]


class Finding(TypedDict):
    """A defect. ``line`` exists in ``file``; ``code`` is what stands there."""

    id: str
    file: str
    line: int
    severity: Literal["high", "medium", "low"]
    title: str
    detail: str
    roles: list[str]
    by: list[str]  # "rules", "model"
    code: str


class CodeReviewOutput(TypedDict):
    """What ``nearfar run code_review --json`` prints as its output."""

    summary: str  # Markdown
    findings: list[Finding]  # the gravest first
    files: int
    left_out: list[str]  # files and replies that could not be used
    performance: dict[str, Any]
    prompts: list[dict[str, Any]]


class CodeReviewState(CodeReviewOutput):
    """Everything between the steps; plain JSON."""

    path: str | None
    diff: str | None
    roles: list[str] | None
    most: int
    show_prompts: bool
    sources: list[Source]
    raw: Annotated[list[Finding], by_id]
    unused: Annotated[list[dict[str, str]], by_id]
    calls: Annotated[list[Call], by_id]
    did: Annotated[dict[str, Did], by_key]


def build_code_review(
    model: BaseChatModel | str | None = None, settings: Settings | str | Path | None = None
) -> Graph:
    """The graph, with any chat model or the name of one."""
    team = _Team(model, resolve(settings))
    graph = StateGraph(
        CodeReviewState, input_schema=CodeReviewInput, output_schema=CodeReviewOutput
    )
    graph.add_node("collect", team.collect)
    graph.add_node("merge", team.merge)
    graph.add_edge(START, "collect")
    for role in ROLES:
        graph.add_node(role, duty(role, role, team.reviewer(role)))
        graph.add_edge("collect", role)
    graph.add_edge(list(ROLES), "merge")
    graph.add_edge("merge", END)
    return graph.compile(name="code_review")


class _Team(Team):
    """The roles."""

    def collect(self, state: CodeReviewState) -> dict[str, Any]:
        """What is reviewed; empties what a thread's last run left."""
        unknown = [role for role in state.get("roles") or [] if role not in ROLES]
        if unknown:
            raise UsageError(
                f"There is no role {unknown[0]!r}.", remedy=f"Known: {', '.join(ROLES)}."
            )
        sources, left_out = collect(state.get("path"), state.get("diff"))
        fresh = dict.fromkeys(("raw", "unused", "calls", "did"))
        return {**fresh, "sources": sources, "left_out": left_out, "files": len(sources)}

    def reviewer(self, role: Role) -> Any:
        """The step of a role: its rules, then the model, chunk by chunk."""

        def review(state: CodeReviewState) -> Steps:
            if state.get("roles") and role not in (state["roles"] or []):
                return {}
            raw = [
                _finding(source, f.line, f.severity, f.title, f.detail, role, "rules")
                for source in state["sources"]
                for f in look(source)
                if f.role == role
            ]
            ability = Ability.of(self.model)
            if ability.extractive:
                return {"raw": raw, "did": did(role, role)}
            return (yield from self._by_model(state, role, ability, raw))

        return review

    def _by_model(
        self, state: CodeReviewState, role: Role, ability: Ability, raw: list[Finding]
    ) -> Steps:
        calls: list[Call] = []
        unused: list[dict[str, str]] = []
        readable = True
        chunks = [(s, chunk) for s in state["sources"] for chunk in _chunks(s, _room(ability))]
        options: dict[str, Any] = {}
        if ability.grammar:
            from nearfar.llm.local.grammar import json_grammar

            options["grammar"] = json_grammar(_LIST)
        for source, chunk in chunks[:_CHUNKS]:
            messages = self._prompts.get("review/find").messages(
                role=role, path=Path(source["file"]).as_posix(), code=chunk
            )
            said = yield from ask_as(role, role, self.model, messages, **options)
            calls += said.calls
            entries = _entries(said.text)
            if entries is None:
                readable = False
                unused.append(_note(role, f"{source['file']}: the reply of {role} is no JSON list"))
            for entry in entries or []:
                found = _from_model(source, entry, role)
                if found is not None:
                    raw.append(found)
                else:
                    line = entry.get("line") if isinstance(entry, dict) else None
                    told = f"{source['file']}: {role} spoke of line {line}, which is not reviewed"
                    unused.append(_note(role, told))
        unused += [
            _note(role, f"{source['file']}: not shown to the model, too much code before it")
            for source, _ in chunks[_CHUNKS:]
        ]
        done = did(role, role, ok=readable)
        return {"raw": raw, "calls": calls, "unused": unused, "did": done}

    def merge(self, state: CodeReviewState) -> dict[str, Any]:
        """Each defect once, the gravest first, then what more roles saw."""
        merged: list[Finding] = []
        for finding in sorted(state.get("raw") or [], key=_place):
            same = next((m for m in merged if _same(m, finding)), None)
            if same is None:
                merged.append(finding)
            else:
                _join(same, finding)
        ranked = sorted(
            merged, key=lambda f: (_WEIGHT[f["severity"]], -len(f["roles"]), f["file"], f["line"])
        )[: state.get("most", 100)]
        left_out = [*state["left_out"], *(u["text"] for u in state.get("unused") or [])]
        return {
            **report_of(state),
            "findings": ranked,
            "left_out": left_out,
            "summary": _summary(ranked, state["files"], left_out),
        }


def _room(ability: Ability) -> int:
    """Characters of code that fit beside instructions and reply."""
    if ability.window is None:
        return _CHUNK_CHARS
    return max(500, min(_CHUNK_CHARS, (ability.window - ability.reply_tokens() - 300) * 2))


def _chunks(source: Source, room: int) -> Iterator[str]:
    """Numbered lines, as many as fit; of a diff only those that hold changes."""
    changed = set(source["changed"]) if source["changed"] is not None else None
    chunk: list[str] = []
    size, touched = 0, False
    for number, text in enumerate(source["lines"], 1):
        if not source["whole"] and not text:
            continue
        mark = "+" if changed and number in changed else " "
        line = f"{number:>5}{mark} {text[:400]}"
        if size + len(line) > room and chunk:
            if touched:
                yield "\n".join(chunk)
            chunk, size, touched = [], 0, False
        chunk.append(line)
        size += len(line) + 1
        touched |= changed is None or number in changed
    if chunk and touched:
        yield "\n".join(chunk)


def _entries(text: str) -> list[Any] | None:
    """The JSON list in a reply, also with a fence or words around it."""
    match = re.search(r"\[.*\]", text, re.DOTALL)
    try:
        entries = json.loads(match.group()) if match else None
    except ValueError:
        return None
    return entries if isinstance(entries, list) else None


def _from_model(source: Source, entry: Any, role: Role) -> Finding | None:
    """None where the line does not exist, was not changed, or the entry is no finding."""
    if not isinstance(entry, dict):
        return None
    line, title = entry.get("line"), str(entry.get("title") or "").strip()
    if isinstance(line, bool) or not isinstance(line, int) or not title:
        return None
    if not 1 <= line <= len(source["lines"]) or not source["lines"][line - 1].strip():
        return None
    if source["changed"] is not None and line not in source["changed"]:
        return None
    severity = entry.get("severity")
    severity = severity if severity in _WEIGHT else "low"
    detail = " ".join(str(entry.get("detail") or "").split())[:400]
    return _finding(source, line, severity, title[:100], detail, role, "model")


def _finding(  # noqa: PLR0917 - the fields, in their order
    source: Source, line: int, severity: Any, title: str, detail: str, role: str, by: str
) -> Finding:
    return Finding(
        id=f"{source['file']}:{line}:{role}:{by}:{title}",
        file=source["file"],
        line=line,
        severity=severity,
        title=title,
        detail=detail,
        roles=[role],
        by=[by],
        code=source["lines"][line - 1].strip()[:200],
    )


def _note(role: str, text: str) -> dict[str, str]:
    return {"id": f"{role}: {text}", "text": text}


def _place(finding: Finding) -> tuple[str, int, int]:
    return finding["file"], finding["line"], _WEIGHT[finding["severity"]]


def _same(one: Finding, other: Finding) -> bool:
    """At the same place, and about the same; at one line the details count too."""
    near = one["line"] == other["line"]
    if one["file"] != other["file"] or abs(one["line"] - other["line"]) > _NEAR:
        return False
    if one["by"] == other["by"] == ["rules"]:
        return False  # each rule says what it says once
    texts = (f["title"] + (" " + f["detail"] if near else "") for f in (one, other))
    left, right = (set(content_words(text)) for text in texts)
    smaller = min(len(left), len(right))
    return bool(smaller) and len(left & right) / smaller >= _ALIKE


def _join(kept: Finding, other: Finding) -> None:
    if _WEIGHT[other["severity"]] < _WEIGHT[kept["severity"]]:
        kept["severity"] = other["severity"]
    kept["roles"] = sorted({*kept["roles"], *other["roles"]})
    kept["by"] = sorted({*kept["by"], *other["by"]})
    kept["detail"] = kept["detail"] or other["detail"]


def _summary(findings: list[Finding], files: int, left_out: list[str]) -> str:
    count = f"{len(findings)} finding{'' if len(findings) == 1 else 's'}"
    lines = [f"# Review: {count} in {files} file{'' if files == 1 else 's'}", ""]
    lines += [
        f"- **{f['severity']}** {f['file']}:{f['line']}: {f['title']}. {f['detail']} ({', '.join(f['roles'])})"
        for f in findings
    ]
    if not findings:
        lines.append("Nothing was found. That does not mean that there is nothing.")
    if left_out:
        lines += ["", f"Not reviewed or not used: {len(left_out)}."]
    return "\n".join(lines)
