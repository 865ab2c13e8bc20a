"""Errors of workflows and their runs."""

from ._errors_base import NearfarError


class WorkflowError(NearfarError):
    """Something about a workflow."""

    code = "NF-500"


class WorkflowNotFoundError(WorkflowError):
    """No workflow of that name, file or module; data: ``name``, ``known``."""

    code = "NF-501"
    exit_code = 2


class WorkflowInputError(WorkflowError):
    """The input does not fit the workflow's schema; data: ``fields``."""

    code = "NF-502"
    exit_code = 2
    default_remedy = "`nearfar run WORKFLOW --help` shows its fields."


class WorkflowFailedError(WorkflowError):
    """A step of the workflow raised; data: ``workflow``, ``step``."""

    code = "NF-503"


class AgentLimitError(WorkflowError):
    """An agent came to a limit of its run; data: ``limit`` (its name), ``allowed``, ``reached``."""

    code = "NF-550"
    default_remedy = (
        "Ask for less at a time, or raise the limit (for the assistant: assistant.limits)."
    )


class RunNotFoundError(WorkflowError):
    """No run of that id; data: ``run_id``."""

    code = "NF-504"
    exit_code = 2
    default_remedy = "`nearfar runs list` shows the runs."


class LeaseLostError(WorkflowError):
    """The thread was taken over by another writer; nothing was written. data: ``thread_id``."""

    code = "NF-505"
    default_remedy = "The run goes on elsewhere: `nearfar runs list` shows it."


class RunConflictError(WorkflowError):
    """The idempotency key stands for a run with another body; data: ``run_id``."""

    code = "NF-506"
    exit_code = 2
    default_remedy = "Use a new key for a new request."


class RunStateError(WorkflowError):
    """The run cannot do that in its present state; data: ``run_id``, ``status``."""

    code = "NF-507"
    exit_code = 2
    default_remedy = "`nearfar runs show ID` says what the run is doing."


class ThreadBusyError(WorkflowError):
    """Another run of the thread must end first; data: ``thread_id``, ``run_id``."""

    code = "NF-508"


class RunCancelledError(WorkflowError):
    """The run was cancelled; data: ``run_id``."""

    code = "NF-509"


class PoisonedRunError(WorkflowError):
    """The program died again and again at the same step of this run; data: ``run_id``."""

    code = "NF-511"
    default_remedy = (
        "Look for a step that ends the process or takes all memory; then resume the run."
    )


class AnswerExpiredError(WorkflowError):
    """Nobody answered the run in time; data: ``run_id``."""

    code = "NF-512"
    default_remedy = "`nearfar runs resume ID` asks again."


class EffectUnknownError(WorkflowError):
    """Nobody knows whether an effect was done; data: ``effect``, ``step``, ``key``."""

    code = "NF-520"
    default_remedy = (
        "Look at the far side, then say what happened: `nearfar runs reconcile RUN --done VALUE` or"
        " `--not-done`."
    )


class EffectNotDoneError(WorkflowError):
    """Raise it in an effect to say that nothing was done, so that it may be tried again."""

    code = "NF-521"
    default_remedy = "`nearfar runs resume RUN` tries it again."


class EffectValueError(WorkflowError):
    """An effect was done, but what it returned cannot be kept; data: ``type`` or ``effect``."""

    code = "NF-522"
    default_remedy = "Return plain values (text, numbers, lists, objects) or messages from it."


class EffectOrderError(WorkflowError):
    """A step calls an effect in another order than before; data: ``effect``, ``step``."""

    code = "NF-523"
    default_remedy = "Give the effect a key of its own: @nearfar.effect(key=...)."


class FarUnreachableError(WorkflowError):
    """No far model can be reached, and the step must not do without one; data: ``step``."""

    code = "NF-524"
    default_remedy = "Nothing: the run goes on by itself when one can be reached again."


class ScheduleNotFoundError(WorkflowError):
    """No schedule has that name; data: ``name``, ``known``."""

    code = "NF-530"
    exit_code = 2
    default_remedy = "`nearfar schedule list` shows the schedules."


class ScheduleExistsError(WorkflowError):
    """A schedule has that name already; data: ``name``."""

    code = "NF-531"
    exit_code = 2
    default_remedy = "Use another name, or remove the old one: `nearfar schedule remove NAME`."


class ScheduleInvalidError(WorkflowError):
    """A cron line, interval, zone or name that cannot be used; data: ``field``."""

    code = "NF-532"
    exit_code = 2
    default_remedy = "Write it as crontab does: minute hour day month day-of-week."


class ScheduleBusyError(WorkflowError):
    """A run of the schedule is still going; data: ``name``, ``run_id``."""

    code = "NF-533"
    default_remedy = "Wait for it, or cancel it: `nearfar runs cancel ID`."
