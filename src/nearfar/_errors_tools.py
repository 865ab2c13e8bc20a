"""Errors of tools."""

from ._errors_base import NearfarError


class ToolError(NearfarError):
    """Something about a tool. Within a run the model is told the message, and the run goes on."""

    code = "NF-600"


class ToolNotFoundError(ToolError):
    """No tool of that name; data: ``name``, ``known``."""

    code = "NF-601"
    exit_code = 2
    default_remedy = "`nearfar tools list` shows the tools."


class ToolDeniedError(ToolError):
    """The permissions forbid the call, or a person rejected it; data: ``tool``."""

    code = "NF-602"
    default_remedy = "Do without this call; `tools.permissions` says what is allowed."


class ApprovalRequiredError(ToolError):
    """A person must approve the call, and nobody could be asked; data: ``tool``, ``description``."""

    code = "NF-603"
    exit_code = 3
    default_remedy = (
        "Call the tool in a graph with a checkpointer, or allow it under tools.permissions."
    )


class ToolTimeoutError(ToolError):
    """The call took longer than it may; data: ``tool``, ``limit_s``."""

    code = "NF-604"
    default_remedy = "Ask for less, or raise the tool's time limit."


class ToolLimitError(ToolError):
    """Arguments, work or results over a limit; data: ``limit`` and what was found."""

    code = "NF-605"
    default_remedy = "Ask for less at a time."


class ToolRefusedError(ToolError):
    """What was asked for lies outside of what the tool may touch or do."""

    code = "NF-606"


class ToolFailedError(ToolError):
    """The tool could not do what it was asked; data: ``tool``."""

    code = "NF-607"


class McpServerError(ToolError):
    """An MCP server that cannot be started or reached, or that ended; data: ``server``."""

    code = "NF-608"
    default_remedy = "Check its entry under mcp.servers, and whether its program runs by itself."


class McpToolsChangedError(ToolError):
    """An MCP server describes tools otherwise than when they were approved; data: ``server``, ``tools``."""

    code = "NF-609"
    exit_code = 2
    default_remedy = "`nearfar tools list` shows them; `nearfar tools approve SERVER` accepts them."


class UrlRefusedError(ToolError):
    """A URL that untrusted requests must not go to; data: ``reason``, ``host``, ``kind``."""

    code = "NF-620"
    default_remedy = (
        "Use a public http or https URL. A private server that is really meant is allowed by naming"
        " its origin."
    )


class FetchError(ToolError):
    """A server could not be reached or did not answer well; data: ``url``, ``reason``, ``status``."""

    code = "NF-621"
    default_remedy = "Check the address, and try again later."


class ApiDescriptionError(ToolError):
    """An OpenAPI file that no tools can be made of; data: ``pointer``."""

    code = "NF-622"
    exit_code = 2
    default_remedy = "Mend the named place in the API's description."
