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
    default_remedy = "Ask for less at a time, or raise the named limit of the agent."
