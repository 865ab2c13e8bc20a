"""The sections about what agents can call."""

from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, model_validator

from ._settings_places import DatabaseUrl, FolderPath
from ._settings_section import Section

Permission = Literal["allow", "ask", "deny"]


class PermissionRule(Section):
    """Says for some calls whether they are allowed."""

    tool: Annotated[str, Field(min_length=1)]
    """The tool's name; `*` and `?` stand for any characters."""
    arguments: dict[str, str] = Field(default={})
    """Patterns by argument; the rule fits a call when all of them do."""
    permission: Permission
    """`allow`, `ask` (a person decides) or `deny`."""
    even_untrusted: bool = False
    """Whether `allow` also holds once the model has read untrusted text; see `after_untrusted`."""


class AuditSettings(Section):
    """The record of tool calls, audit.jsonl under the home folder."""

    max_mb: Annotated[float, Field(gt=0)] = 16
    """Size, in MiB, at which audit.jsonl is put aside as audit.1.jsonl and a new one begun."""
    keep: Annotated[int, Field(ge=1, le=1000)] = 8
    """Files put aside that are kept; older ones are deleted."""


class FilesToolSettings(Section):
    """What the tools `files_*` may touch."""

    roots: list[FolderPath] = Field(default=[])
    """Folders that the tools work in; nothing outside of them is read or written."""
    max_file_mb: Annotated[float, Field(gt=0)] = 10
    """Files over this size, in MiB, are neither read nor written."""


class SqlToolSettings(Section):
    """What the tool `sql` may ask."""

    databases: Annotated[dict[str, DatabaseUrl], Field(repr=False)] = Field(default={})
    """Databases by name, as URLs: `sqlite:///file.db`, `postgresql://...` or another of SQLAlchemy's."""
    functions: list[str] = Field(default=[])
    """SQL functions that may be called besides the well-known harmless ones."""
    max_rows: Annotated[int, Field(ge=1, le=100_000)] = 200
    """Rows that a query returns, at most."""


class DocumentsToolSettings(Section):
    """What the tool `documents` searches."""

    index: str | None = None
    """The index to search; unset: the call names one, or there is only one."""


class WebToolSettings(Section):
    """What the tools `web_fetch` and `web_scrape` may reach."""

    hosts: list[Annotated[str, Field(min_length=1)]] = Field(default=[])
    """Hosts that are fetched from without asking: `example.com`, `*.example.com`, or `*` for all."""
    private: list[Annotated[str, Field(pattern=r"^https?://")]] = Field(default=[])
    """Servers on this machine or network that may be reached, such as `http://127.0.0.1:8080`."""
    ports: list[Annotated[int, Field(ge=1, le=65535)]] = Field(default=[80, 443, 8080, 8443])
    """Ports of public servers that may be reached."""
    max_mb: Annotated[float, Field(gt=0, le=100)] = 5
    """Size, in MiB, at which an answer is cut."""


class ApiSettings(Section):
    """An HTTP API that tools call."""

    spec: FolderPath | None = None
    """Its OpenAPI 3 file, JSON or YAML; unset: one tool that calls what `operations` lists."""
    base_url: Annotated[str, Field(pattern=r"^https?://")] | None = None
    """Where the API is; unset: the first server in its file."""
    operations: list[Annotated[str, Field(min_length=1)]] = Field(default=[])
    """What may be called, as `GET /pets/*` or by operationId; unset: all that the file has."""
    secrets: Annotated[dict[str, str], Field(repr=False)] = Field(default={})
    """Keys by the name of their security scheme in the file, without a file by header."""

    @model_validator(mode="after")
    def _check_place(self) -> Self:
        if self.spec is None and not (self.base_url and self.operations):
            raise ValueError("an API needs spec, or base_url and operations")
        return self


class ToolSettings(Section):
    """What agents can call, and what they may do with it."""

    permissions: list[PermissionRule] = Field(default=[])
    """Rules in order; the first that fits a call decides, else the tool's own default."""
    after_untrusted: Permission = "ask"
    """What holds for allowed calls with effects once a model has read text from outside."""
    timeout_s: Annotated[float, Field(gt=0)] = 30
    """Seconds that one call may take."""
    max_output_chars: Annotated[int, Field(ge=100)] = 20_000
    """Characters of a result that the model sees; the rest is cut, with a mark."""
    max_argument_chars: Annotated[int, Field(ge=100)] = 100_000
    """Characters that the arguments of one call may have."""
    audit: AuditSettings = AuditSettings()
    """The record of tool calls, audit.jsonl under the home folder."""
    files: FilesToolSettings = FilesToolSettings()
    """What the tools `files_*` may touch."""
    sql: SqlToolSettings = SqlToolSettings()
    """What the tool `sql` may ask."""
    documents: DocumentsToolSettings = DocumentsToolSettings()
    """What the tool `documents` searches."""
    web: WebToolSettings = WebToolSettings()
    """What the tools `web_fetch` and `web_scrape` may reach."""
    apis: dict[str, ApiSettings] = Field(default={})
    """HTTP APIs by name, whose operations become tools."""


class McpServerSettings(Section):
    """An MCP server whose tools agents can call."""

    command: Annotated[str, Field(min_length=1)] | None = None
    """The program that is started, and spoken with over its standard input and output."""
    args: list[str] = Field(default=[])
    """Its arguments."""
    env: Annotated[dict[str, str], Field(repr=False)] = Field(default={})
    """What its environment has besides PATH and the like; `keyring:SERVICE/NAME` is looked up."""
    folder: FolderPath | None = None
    """The folder that it runs in."""
    url: Annotated[str, Field(pattern=r"^https?://")] | None = None
    """The address of a server that runs already (streamable HTTP)."""
    headers: Annotated[dict[str, str], Field(repr=False)] = Field(default={})
    """Headers of each request; `keyring:SERVICE/NAME` is looked up."""
    tools: list[Annotated[str, Field(min_length=1)]] | None = None
    """Names of those of its tools that are used; `*` and `?` stand for any characters; unset: all."""
    permission: Permission = "ask"
    """What holds for its tools where no rule of `tools.permissions` fits."""
    trusted: bool = False
    """Whether what it says about its tools is taken like words of yours; results never are."""
    timeout_s: Annotated[float, Field(gt=0)] | None = None
    """Seconds that one call may take; unset: as for other tools."""
    connect_s: Annotated[float, Field(gt=0)] = 30
    """Seconds that starting or reaching it may take."""
    max_message_mb: Annotated[float, Field(gt=0)] = 8
    """How long one of its messages may be."""

    @model_validator(mode="after")
    def _check_way(self) -> Self:
        if (self.command is None) == (self.url is None):
            raise ValueError("an MCP server needs either command or url")
        if self.url is None and self.headers:
            raise ValueError("headers are for servers with a url")
        if self.command is None and (self.args or self.env or self.folder):
            raise ValueError("args, env and folder are for servers with a command")
        return self


McpServerName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,23}$")]


class McpSettings(Section):
    """The Model Context Protocol: servers that agents use, and `nearfar mcp`."""

    servers: dict[McpServerName, McpServerSettings] = Field(default={})
    """Servers by name; their tools are called `mcp_NAME_TOOL`."""
    token: SecretStr | None = None
    """What clients of `nearfar mcp --http` must send as bearer token; unset: nothing."""
    hosts: list[Annotated[str, Field(min_length=1)]] = Field(default=[])
    """Names by which clients may address `nearfar mcp --http`, besides this machine's loopback ones."""
