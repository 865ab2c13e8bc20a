"""Errors of prompts and of crews."""

from ._errors_base import NearfarError
from ._errors_workflows import WorkflowError


class PromptError(NearfarError):
    """Something about a prompt template."""

    code = "NF-570"


class PromptNotFoundError(PromptError):
    """No prompt of that name or version; data: ``name``, ``known``."""

    code = "NF-571"
    exit_code = 2
    default_remedy = "`nearfar prompts list` shows the prompts."


class PromptFileError(PromptError):
    """A template that cannot be used; data: ``file``, ``line``."""

    code = "NF-572"
    exit_code = 2
    default_remedy = "Mend the named line; `nearfar prompts check` says whether all is well."


class PromptVariableError(PromptError):
    """A value that does not fit the prompt's variables; data: ``name``, ``variables``."""

    code = "NF-573"
    exit_code = 2
    default_remedy = "`nearfar prompts show NAME` lists the variables."


class CrewDefinitionError(WorkflowError):
    """A crew that cannot work as it is written; data: ``key``, ``file``, ``line``, ``problems``."""

    code = "NF-580"
    exit_code = 2
    default_remedy = "Mend the named place of the crew's file."


class TaskFailedError(WorkflowError):
    """A task's result was not accepted; data: ``task``, ``role``, ``attempts``, ``problems``."""

    code = "NF-581"
    default_remedy = (
        "Give the role a better model or clearer instructions, or the task more attempts or a "
        "looser guard. What is finished is kept: run the thread again to go on."
    )


class DelegationLimitError(WorkflowError):
    """Tasks were handed on too often or too deeply; data: ``limit``."""

    code = "NF-582"
    default_remedy = "Raise max_depth or max_delegations of the crew if that many are meant."
