"""How a role does a task: asked, checked, asked again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.tools import BaseTool

from nearfar.agents.middleware.limits import Limits as RunLimits
from nearfar.agents.middleware.limits import LimitsMiddleware
from nearfar.agents.middleware.small import SmallModelMiddleware, is_small
from nearfar.agents.middleware.taint import TaintMiddleware
from nearfar.errors import TaskFailedError
from nearfar.llm import supports_grammar
from nearfar.llm.steps import Invoke, Steps
from nearfar.prompts import Library
from nearfar.settings import Settings
from nearfar.tools.taint import Taint, read_so_far

from .definition import Crew, Task
from .grammar import Grammar
from .permitting import CrewApproval
from .recording import ROLE, TASK, Recorder
from .results import Check, accepted, artifacts_of, notes_of, untrusted
from .state import Artifact, Call, Note, Result, by_id


@dataclass(frozen=True)
class Job:
    """A task with all that its role is told."""

    name: str
    task: Task
    role: str
    text: str  # the description, filled in
    results: Sequence[Result] = ()  # of the tasks before
    notes: Sequence[Note] = ()  # to this role
    feedback: str = ""  # of a person
    tainted: bool = False  # something from outside stands in the text
    depth: int = 0  # how often it was handed on

    @property
    def taint(self) -> list[Taint]:
        """What in it is from outside."""
        found = [Taint(id=f"task/{self.name}", tool=None, source="the task's text")]
        found = found if self.tainted else []
        for result in self.results:
            if result["untrusted"]:
                source = f"the result of {result['task']}"
                found.append(Taint(id=f"result/{result['task']}", tool=None, source=source))
        for note in self.notes:
            if note["untrusted"]:
                source = f"a message of {note['sender']}"
                found.append(Taint(id=f"note/{note['id']}", tool=None, source=source))
        return found


@dataclass(frozen=True)
class Done:
    """What came of a job; ``below`` are the results of what was handed on."""

    result: Result
    notes: list[Note] = field(default_factory=list)
    artifacts: list[Artifact] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    below: dict[str, Result] = field(default_factory=dict)

    def update(self) -> dict[str, Any]:
        """For the crew's state."""
        return {
            "results": {**self.below, self.result["task"]: self.result},
            "messages": self.notes,
            "artifacts": self.artifacts,
            "calls": self.calls,
        }


_READ = "Answer from the passages and cite them."  # the one instruction that small models know


@dataclass(frozen=True)
class Workshop:
    """What roles work with."""

    crew: Crew
    models: Mapping[str, BaseChatModel]  # by role
    tools: Mapping[str, list[BaseTool]]  # by role
    checks: dict[str, Check]
    prompts: Library
    settings: Settings

    def perform(
        self, job: Job, more_tools: Sequence[BaseTool] = (), recorder: Recorder | None = None
    ) -> Steps:
        """A generator that returns ``Done``. Raises TaskFailedError when no attempt is accepted.

        A ``recorder`` holds afterwards what was tried, also where that came to nothing.
        """
        recorder = recorder or Recorder()
        system = self._system(job)
        agent = self._agent(job, system, more_tools)
        problems: list[str] = []
        said: list[BaseMessage] = []
        value: Any = None
        for attempt in range(1, job.task.attempts + 1):
            recorder.attempts = attempt
            feedback = job.feedback if attempt == 1 else f"{problems[-1]}."
            asked = self._messages(job, feedback)
            reply = yield Invoke(
                agent,
                {"messages": asked},
                callbacks=[recorder],
                metadata={TASK: job.name, ROLE: job.role},
            )
            said += reply["messages"]
            value, found = accepted(_text(reply["messages"]), job.task, self.checks)
            if not found:
                return self._done(job, recorder, system, said, Attempts(value, attempt, problems))
            problems.append("; ".join(found))
        if job.task.on_failure == "continue":
            tried = Attempts(value, job.task.attempts, problems, ok=False)
            return self._done(job, recorder, system, said, tried)
        raise TaskFailedError(
            f"The task {job.name!r} did not come out: {problems[-1]} "
            f"({job.role}, {job.task.attempts} attempts).",
            data={
                "task": job.name,
                "role": job.role,
                "attempts": job.task.attempts,
                "problems": problems,
            },
        )

    def _done(
        self, job: Job, recorder: Recorder, system: str, said: list[BaseMessage], tried: "Attempts"
    ) -> Done:
        below = handed_on(said)
        tainted = bool(job.taint) or bool(read_so_far()) or untrusted(said)
        result = Result(
            task=job.name,
            role=job.role,
            ok=tried.ok,
            value=tried.value,
            attempts=tried.count,
            problems=tried.problems,
            untrusted=tainted,
        )
        calls = recorder.with_earlier(said, system, job.name, job.role)
        notes = notes_of(said, job.name, job.role, tainted=tainted)
        artifacts = artifacts_of(said, job.name, job.role)
        return Done(
            result,
            notes + [note for done in below for note in done.notes],
            artifacts + [artifact for done in below for artifact in done.artifacts],
            by_id(calls, [call for done in below for call in done.calls]),
            {k: v for done in below for k, v in done.update()["results"].items()},
        )

    def _system(self, job: Job) -> str:
        """A small model would only repeat what it is told about its role."""
        if is_small(self.models[job.role]):
            return _READ if job.results else ""
        role = self.crew.roles[job.role]
        return self.prompts.get("crew/role").render(
            role=job.role, goal=role.goal, instructions=role.instructions
        )

    def _messages(self, job: Job, feedback: str) -> list[Any]:
        if is_small(self.models[job.role]):
            return [HumanMessage(_as_passages(job))]
        results = [
            f"{r['task']} ({r['role']}): {_shown(r) if r['ok'] else 'it did not come out'}"
            for r in job.results
        ]
        return self.prompts.get("crew/task").messages(
            task=job.text,
            expects=job.task.expects,
            schema=job.task.result_schema,
            results=results,
            messages=[f"{note['sender']}: {note['text']}" for note in job.notes],
            feedback=feedback,
        )

    def _agent(self, job: Job, system: str, more_tools: Sequence[BaseTool]) -> Any:
        limits = self.crew.roles[job.role].limits
        bounds = RunLimits(
            steps=limits.steps,
            tool_calls=limits.tool_calls,
            depth=self.crew.max_depth + 1,
            time_s=limits.time_s,
            usd=limits.usd,
        )
        model = self.models[job.role]
        may_ask = job.depth < self.crew.max_depth or not self.crew.roles[job.role].delegates
        tools = [*self.tools[job.role], *more_tools]
        middleware: list[Any] = [
            LimitsMiddleware(bounds, on_limit="error"),
            TaintMiddleware(job.taint),
            CrewApproval(self.settings, deepest=None if may_ask else self.crew.max_depth),
            SmallModelMiddleware(self.settings, passages=_done(job)),
        ]
        if job.task.result_schema is not None and not tools and supports_grammar(model):
            middleware.append(Grammar(job.task.result_schema))
        return create_agent(
            model, tools, system_prompt=system or None, middleware=middleware, name=job.role
        )


@dataclass(frozen=True)
class Attempts:
    """The last value, how often was tried, and why the others were not accepted."""

    value: Any
    count: int
    problems: list[str]
    ok: bool = True


def handed_on(messages: Sequence[BaseMessage]) -> list[Done]:
    """What tools of delegation brought back."""
    artifacts = [getattr(message, "artifact", None) for message in messages]
    return [
        Done(**artifact["done"])
        for artifact in artifacts
        if isinstance(artifact, dict) and "done" in artifact
    ]


def _as_passages(job: Job) -> str:
    """The form that small models are made for: numbered passages, then what is asked."""
    listed = "\n".join(f"[{n}] {' '.join(text.split())}" for n, text in enumerate(_done(job), 1))
    return f"{listed}\n\nQuestion: {job.text}" if listed else job.text


def _done(job: Job) -> list[str]:
    """What earlier tasks gave."""
    return [_shown(result) for result in job.results if result["ok"]]


def _text(messages: Sequence[BaseMessage]) -> str:
    last = messages[-1]
    return str(last.text) if isinstance(last, AIMessage) else ""


def _shown(result: Result) -> str:
    import json

    value = result["value"]
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
