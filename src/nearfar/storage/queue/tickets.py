"""Tickets: jobs of Procrastinate's that say which run is to be begun."""

import hashlib
from typing import Any

from procrastinate.jobs import Job

TASK = "nearfar.run"
_LONGEST = 39  # characters of a queue's name: it is part of a channel's, which Postgres bounds


def queue_of(workflow: str) -> str:
    """The queue of a workflow's runs, so that workers can take those of some workflows alone."""
    if len(workflow.encode()) <= _LONGEST:
        return workflow
    return "sha256:" + hashlib.sha256(workflow.encode()).hexdigest()[:32]


def ticket(run_id: str, thread_id: str, workflow: str, tenant: str, rank: int) -> Job:
    """The job for a run; ``rank`` 0 comes first."""
    return Job(
        queue=queue_of(workflow),
        task_name=TASK,
        priority=-rank,
        lock=f"thread {thread_id}",
        queueing_lock=f"run {run_id}",
        task_kwargs={"run_id": run_id, "workflow": workflow, "tenant": tenant},
    )


def is_open(job: Any) -> bool:
    """Whether the job waits or is worked on."""
    return job.status in ("todo", "doing")
