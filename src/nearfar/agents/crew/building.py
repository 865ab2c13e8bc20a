"""From a crew to a plain LangGraph: a node for each task, and one that sums up."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import BaseTool
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command, interrupt

from nearfar.errors import AgentLimitError, CrewDefinitionError, TaskFailedError
from nearfar.llm.steps import Steps, both_ways
from nearfar.prompts import library
from nearfar.prompts.template import from_text
from nearfar.settings import Settings, resolve

from .definition import Crew, Task
from .delegating import Desk, declared
from .loading import check, load_crew
from .recording import Recorder, failing, performance, prompts
from .results import Check
from .state import Output, schemas
from .work import Job, Workshop

LEAD = "lead"  # the node of a hierarchical crew, and the name of its result
BEGIN, REPORT = "begin", "report"

State = dict[str, Any]
Model = BaseChatModel | str


def build_crew(
    crew: Crew | str | Path,
    *,
    model: Model | None = None,
    models: Mapping[str, Model] | None = None,
    tools: Mapping[str, BaseTool] | None = None,
    guards: Mapping[str, Check] | None = None,
    settings: Settings | str | Path | None = None,
) -> CompiledStateGraph[Any, Any, Any, Any]:
    """The graph of a crew (or of the file that it stands in), without a checkpointer.

    Tools that are not Nearfar's ask a person before each call, unless ``tools.permissions`` allow
    them. ``model`` takes the place of the crew's, ``models`` those of roles by name; ``tools`` are
    further tools by the names that roles use, ``guards`` the functions that ``guard.check`` names.
    Raises CrewDefinitionError, and what a missing model or tool raises.
    """
    resolved = resolve(settings)
    plan = crew if isinstance(crew, Crew) else load_crew(crew)
    check(plan)
    checks = dict(guards or {})
    for name, task in plan.tasks.items():
        if task.guard.check and task.guard.check not in checks:
            raise CrewDefinitionError(
                f"tasks.{name}.guard.check names {task.guard.check!r}, which is not given.",
                remedy="Give the function to build_crew(..., guards={name: function}).",
                data={"key": f"tasks.{name}.guard.check"},
            )
    shop = Workshop(
        crew=plan,
        models=_models(plan, model, models or {}, resolved),
        tools=_tools(plan, tools or {}, resolved),
        checks=checks,
        prompts=library(resolved),
        settings=resolved,
    )
    build = _hierarchical if plan.process == "hierarchical" else _in_order
    return build(_Nodes(shop))


def _models(
    crew: Crew, model: Model | None, models: Mapping[str, Model], settings: Settings
) -> dict[str, BaseChatModel]:
    from nearfar.llm import chat_model

    made: dict[str | None, BaseChatModel] = {}

    def one(chosen: Model | None) -> BaseChatModel:
        if isinstance(chosen, BaseChatModel):
            return chosen
        if chosen not in made:
            made[chosen] = chat_model(chosen, settings=settings)
        return made[chosen]

    return {
        name: one(models.get(name) or role.model or model or crew.model)
        for name, role in crew.roles.items()
    }


def _tools(
    crew: Crew, given: Mapping[str, BaseTool], settings: Settings
) -> dict[str, list[BaseTool]]:
    from nearfar.tools import tools

    return {
        name: [
            tool
            for asked in role.tools
            for tool in ([given[asked]] if asked in given else tools([asked], settings))
        ]
        for name, role in crew.roles.items()
    }


class _Nodes:
    """The functions behind the nodes."""

    def __init__(self, shop: Workshop) -> None:
        self.shop = shop
        self.crew = shop.crew

    def task(self, name: str) -> Any:
        """Does the task."""
        task = self.crew.tasks[name]

        def step(state: State) -> Steps:
            recorder = Recorder()
            calls, before = state.get("calls") or [], state.get("results") or {}
            with failing(recorder, name, cast("str", task.role), calls, lambda: before):
                self._check_limits(state)
                job = self._job(name, task, state)
                desk = Desk(self.shop)
                done = yield from self.shop.perform(job, desk.tools(job), recorder)
                return done.update()

        return both_ways(name, step)

    def review(self, name: str) -> Any:
        """Asks a person; the answer is a LangGraph resume value."""

        def step(state: State) -> Command[str]:
            result = state["results"][name]
            answer = interrupt(
                {
                    "task": name,
                    "role": result["role"],
                    "result": result["value"],
                    "answers": ["approve", {"edit": "the result as it should be"},
                                {"reject": "what is to be changed"}],
                }
            )  # fmt: skip
            edited, wanted = _understood(answer)
            if wanted is not None:
                return Command(goto=name, update={"feedback": {name: wanted}})
            update = {"results": {name: {**result, "value": edited}}} if edited is not None else {}
            return Command(goto=f"{name}.done", update=update)

        return RunnableLambda(step, name=f"{name}.review")

    def lead(self) -> Any:
        """The lead, who hands the tasks on until all are done."""
        crew = self.crew
        leader = cast("str", crew.lead)

        def step(state: State) -> Steps:
            texts = {name: self._text(task, state) for name, task in crew.tasks.items()}
            tainted = any(v.untrusted for v in crew.inputs.values())
            desk = Desk(self.shop, declared(crew, texts, tainted=tainted))
            task = Task(description=crew.description or crew.name, role=leader)
            recorder = Recorder()
            results: dict[str, Any] = {}
            with failing(recorder, LEAD, leader, [], desk.tried):
                feedback = ""
                for _ in range(task.attempts):
                    text = self._lead_text(texts, desk, feedback)
                    job = Job(LEAD, task, leader, text, tainted=tainted)
                    done = yield from self.shop.perform(job, desk.tools(job, lead=True), recorder)
                    results |= done.below
                    missing = [name for name in crew.tasks if name not in results]
                    if not missing:
                        update = done.update()
                        return {**update, "results": {**results, **update["results"]}}
                    feedback = f"These tasks are not done yet: {', '.join(missing)}."
                told = {"task": LEAD, "role": leader, "attempts": task.attempts}
                raise TaskFailedError(
                    f"The lead {leader!r} did not hand on: {feedback}",
                    data={**told, "problems": [feedback]},
                )

        return both_ways(LEAD, step)

    def report(self, state: State) -> State:
        """The crew's result, and what it took."""
        results = state.get("results") or {}
        chosen = self.crew.output or (LEAD if self.crew.lead else list(self.crew.tasks)[-1])
        calls = state.get("calls") or []
        return {
            "output": results[chosen]["value"] if chosen in results else None,
            "tasks": results,
            "performance": performance(calls, results),
            "prompts": prompts(calls) if state.get("show_prompts") else [],
        }

    def _check_limits(self, state: State) -> None:
        calls, limits = state.get("calls") or [], self.crew.limits
        spent = sum((Decimal(str(call["cost_usd"] or 0)) for call in calls), Decimal(0))
        over: list[tuple[str, Any, Any]] = [
            ("steps", len(calls), limits.steps), ("usd", spent, limits.usd)
        ]  # fmt: skip
        for limit, reached, allowed in over:
            if allowed is not None and reached >= allowed:
                raise AgentLimitError(
                    f"The crew {self.crew.name!r} was stopped: it may take {allowed} {limit}.",
                    data={"limit": limit, "allowed": float(allowed), "reached": float(reached)},
                )

    def _job(self, name: str, task: Task, state: State) -> Job:
        results = state.get("results") or {}
        role = cast("str", task.role)
        return Job(
            name=name,
            task=task,
            role=role,
            text=self._text(task, state),
            results=[results[need] for need in self.crew.needs(name) if need in results],
            notes=[note for note in state.get("messages") or [] if note["to"] == role],
            feedback=(state.get("feedback") or {}).get(name, ""),
            tainted=any(v.untrusted and state.get(k) for k, v in self.crew.inputs.items()),
        )

    def _text(self, task: Task, state: State) -> str:
        inputs = self.crew.inputs
        values = {name: state[name] for name in inputs if state.get(name) is not None}
        return from_text(task.description, variables=inputs).render(values)

    def _lead_text(self, texts: dict[str, str], desk: Desk, feedback: str) -> str:
        crew = self.crew
        tasks = []
        for name, text in texts.items():
            needs = crew.needs(name)
            after = f" (after {', '.join(needs)})" if needs else ""
            who = f" (for {crew.tasks[name].role})" if crew.tasks[name].role else ""
            tasks.append(f"{name}{after}{who}: {text}" + (" - done" if name in desk.done else ""))
        roles = [f"{name}: {role.goal}" for name, role in crew.roles.items() if name != crew.lead]
        goal = crew.description or crew.name
        return self.shop.prompts.get("crew/lead").render(
            goal=goal, tasks=tasks, roles=roles, feedback=feedback
        )


def _understood(answer: Any) -> tuple[Any, str | None]:
    """What a person put in place of the result, or what they want changed.

    ``approve``, ``{"edit": ...}``, ``{"reject": "why"}``; any other text is a wish for a change.
    """
    if isinstance(answer, Mapping) and "edit" in answer:
        return answer["edit"], None
    if isinstance(answer, Mapping) and "reject" in answer:
        return None, str(answer["reject"]) or "It was not accepted."
    if answer is True or (isinstance(answer, str) and answer.strip().lower() in _YES):
        return None, None
    return None, str(answer)


_YES = {"approve", "approved", "yes", "ok", "true"}


def _node(function: Any) -> Any:
    """Typed as LangGraph cannot: the keys of a crew's state are known at run time."""
    return RunnableLambda(function)


def _graph(nodes: _Nodes) -> StateGraph[Any, Any, Any, Any]:
    state, given = schemas(nodes.crew)
    graph = StateGraph(state, input_schema=given, output_schema=Output)
    graph.add_node(BEGIN, _node(_begin))
    graph.add_edge(START, BEGIN)
    return graph


def _in_order(nodes: _Nodes) -> CompiledStateGraph[Any, Any, Any, Any]:
    graph = _graph(nodes)
    crew = nodes.crew
    for name, task in crew.tasks.items():
        graph.add_node(name, nodes.task(name))
        if task.review:
            graph.add_node(
                f"{name}.review", nodes.review(name), destinations=(name, f"{name}.done")
            )
            graph.add_node(f"{name}.done", _node(_nothing))
            graph.add_edge(name, f"{name}.review")
    graph.add_node(REPORT, _node(nodes.report))
    waited_for: set[str] = set()
    for name in crew.tasks:
        needed = _direct(crew, name)
        waited_for.update(needed)
        graph.add_edge(_ends(crew, needed), name) if needed else graph.add_edge(BEGIN, name)
    graph.add_edge(_ends(crew, [name for name in crew.tasks if name not in waited_for]), REPORT)
    graph.add_edge(REPORT, END)
    return graph.compile(name=crew.name)


def _hierarchical(nodes: _Nodes) -> CompiledStateGraph[Any, Any, Any, Any]:
    graph = _graph(nodes)
    graph.add_node(LEAD, nodes.lead())
    graph.add_node(REPORT, _node(nodes.report))
    graph.add_edge(BEGIN, LEAD)
    graph.add_edge(LEAD, REPORT)
    graph.add_edge(REPORT, END)
    return graph.compile(name=nodes.crew.name)


def _direct(crew: Crew, name: str) -> list[str]:
    """The needed tasks that no other needed task waits for."""
    needed = crew.needs(name)
    above: set[str] = set()
    waiting = list(needed)
    while waiting:
        for other in crew.needs(waiting.pop()):
            if other not in above:
                above.add(other)
                waiting.append(other)
    return [need for need in needed if need not in above]


def _ends(crew: Crew, names: Sequence[str]) -> list[str]:
    """The nodes after which these tasks are done."""
    return [f"{name}.done" if crew.tasks[name].review else name for name in names]


def _begin(_state: State) -> State:
    """A thread's next run starts without what the last one left."""
    return dict.fromkeys(("results", "messages", "artifacts", "calls", "feedback"))


def _nothing(_state: State) -> State:
    return {}
