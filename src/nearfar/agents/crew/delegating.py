"""Tools with which roles hand tasks on and write to each other."""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from langchain_core.tools import BaseTool, StructuredTool
from langgraph.prebuilt import InjectedState
from pydantic import BaseModel, ConfigDict, Field, create_model

from nearfar.errors import DelegationLimitError, TaskFailedError
from nearfar.llm.steps import Steps, afinish, finish
from nearfar.tools import mark_as_data

from .definition import Crew, Task
from .work import Done, Job, Workshop, handed_on

_SHOWN = 20_000  # characters of a result that whoever handed on sees


@dataclass
class Desk:
    """Who may hand on what, within one task of the crew."""

    shop: Workshop
    open: dict[str, Job] = field(default_factory=dict)  # declared tasks, which only a lead has
    done: dict[str, Done] = field(default_factory=dict)
    failed: dict[str, dict[str, Any]] = field(default_factory=dict)
    count: int = 0

    def tried(self) -> dict[str, Any]:
        """What was handed on until now, as ``performance`` takes it."""
        return {**self.failed, **{name: done.result for name, done in self.done.items()}}

    def tools(self, job: Job, *, lead: bool = False) -> list[BaseTool]:
        """The tools of the role that does ``job``."""
        crew = self.shop.crew
        role = crew.roles[job.role]
        others = [name for name in crew.roles if name != job.role]
        if not others:
            return []
        made: list[BaseTool] = []
        if (lead or role.delegates) and job.depth < crew.max_depth:
            made.append(self._delegate(job, others))
        if role.talks:
            made.append(_tell(others))
        return made

    def _delegate(self, job: Job, others: Sequence[str]) -> BaseTool:
        def run(role: str, task: str, so_far: list[Any]) -> tuple[str, dict[str, Any]]:
            self._remember(so_far)
            return _answer(finish(self._hand_on(job, role, task)))

        async def arun(role: str, task: str, so_far: list[Any]) -> tuple[str, dict[str, Any]]:
            self._remember(so_far)
            return _answer(await afinish(self._hand_on(job, role, task)))

        what = "the task's name, or what is to be done" if self.open else "what is to be done"
        known: Any = Literal[tuple(others)]
        so_far: Any = Annotated[list[Any], InjectedState("messages")]
        schema = create_model(
            "Delegate",
            __config__=ConfigDict(extra="forbid"),
            role=(known, Field(description="Who is to do it.")),
            task=(str, Field(description=f"In words that stand by themselves: {what}.")),
            so_far=(so_far, Field()),
        )
        return StructuredTool.from_function(
            run,
            arun,
            name="delegate",
            description="Hands a task on to another role and gives back its result.",
            args_schema=schema,
            response_format="content_and_artifact",
        )

    def _remember(self, messages: list[Any]) -> None:
        """A run that was resumed knows from the conversation what was done before."""
        for done in handed_on(messages):
            if done.result["task"] in self.open:
                self.done.setdefault(done.result["task"], done)

    def _hand_on(self, above: Job, role: str, task: str) -> Steps:
        """A generator that returns ``Done``, or a text that says why it did not come out."""
        crew = self.shop.crew
        self.count += 1
        if self.count > crew.max_delegations:
            raise DelegationLimitError(
                f"More than {crew.max_delegations} tasks were handed on.",
                data={"limit": "max_delegations", "allowed": crew.max_delegations},
            )
        name = task.strip()
        if name in self.done:
            return f"The task {name!r} is done already."
        job = self._job(above, role, name)
        if isinstance(job, str):
            return job
        try:
            done = yield from self.shop.perform(job, self.tools(job))
        except TaskFailedError as error:
            self.failed[job.name] = {
                "role": role, "ok": False, "attempts": error.data["attempts"]
            }  # fmt: skip
            return f"{error.message} Try another role, or go on without it."
        if name in self.open:
            self.done[name] = done
        return done

    def _job(self, above: Job, role: str, name: str) -> Job | str:
        declared = self.open.get(name)
        if declared is None:
            digest = hashlib.sha256(name.encode()).hexdigest()[:8]
            free = Task(description=name or "-", role=role, attempts=1)
            return Job(
                f"{above.name}.{role}.{digest}", free, role, name,
                tainted=above.tainted, depth=above.depth + 1,
            )  # fmt: skip
        if declared.task.role not in (None, role):
            return f"The task {name!r} is for {declared.task.role}."
        missing = [need for need in self.shop.crew.needs(name) if need not in self.done]
        if missing:
            return f"The task {name!r} needs {', '.join(missing)} first."
        before = [self.done[need].result for need in self.shop.crew.needs(name)]
        notes = [n for done in self.done.values() for n in done.notes if n["to"] == role]
        return dataclasses.replace(
            declared, role=role, results=before, notes=notes, depth=above.depth + 1
        )


def _answer(done: "Done | str") -> tuple[str, dict[str, Any]]:
    if isinstance(done, str):
        return done, {"tool": "delegate", "untrusted": False, "data": None}
    value = done.result["value"]
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}\n[... cut]"
    return mark_as_data(shown, f"the result of {done.result['role']}"), {
        "tool": "delegate",
        "untrusted": done.result["untrusted"],
        "data": None,
        "done": dataclasses.asdict(done),
    }


class _Told(BaseModel):
    model_config = ConfigDict(extra="forbid")


def _tell(others: Sequence[str]) -> BaseTool:
    known: Any = Literal[tuple(others)]
    schema = create_model(
        "Tell",
        __base__=_Told,
        to=(known, Field(description="Who is to read it.")),
        text=(str, Field(max_length=4000, description="The message.")),
    )
    return StructuredTool.from_function(
        _noted,
        name="tell",
        description="Writes a message to another role, which gets it with its next task.",
        args_schema=schema,
        response_format="content_and_artifact",
    )


def _noted(to: str, text: str) -> tuple[str, dict[str, Any]]:
    kept = {"tool": "tell", "untrusted": False, "data": None}
    return f"{to} will read it ({len(text)} characters).", kept


def declared(crew: Crew, texts: dict[str, str], *, tainted: bool) -> dict[str, Job]:
    """The crew's tasks as jobs that a lead may hand on."""
    return {
        name: Job(name, task, task.role or "", texts[name], tainted=tainted)
        for name, task in crew.tasks.items()
    }
