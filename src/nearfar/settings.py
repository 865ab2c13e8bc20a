"""nearfar.yaml and the environment, as one validated object.

The first of these files that exists is read: the path given, ``nearfar.yaml`` in the working
directory, ``nearfar.yaml`` in the user's configuration folder. Environment variables such as
``NEARFAR__LOCAL__MAX_ACTIVE=2`` win over the file. With neither, the defaults run everything on the
built-in models.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import unquote, urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from ._settings_far import (
    BreakerSettings,
    BudgetSettings,
    CacheSettings,
    ModelProfile,
    Price,
    RouterSettings,
)
from ._settings_problems import explain
from ._settings_section import Section as _Section
from ._settings_source import EnvironmentText, Source, dotted, read
from .errors import ConfigurationError, StorageError

__all__ = [
    "FILE_NAME",
    "ApiSettings",
    "AuditSettings",
    "BreakerSettings",
    "BudgetSettings",
    "CacheSettings",
    "DocumentsToolSettings",
    "EmbeddingSettings",
    "FilesToolSettings",
    "Loaded",
    "LocalOptions",
    "LogSettings",
    "ModelProfile",
    "ModelSettings",
    "Permission",
    "PermissionRule",
    "Price",
    "RetrievalSettings",
    "RouterSettings",
    "Settings",
    "Source",
    "SqlToolSettings",
    "StorageSettings",
    "ToolSettings",
    "WebToolSettings",
    "dotted",
    "find_file",
    "home",
    "json_schema",
    "load",
    "load_settings",
    "read_source",
    "resolve",
]

FILE_NAME = "nearfar.yaml"

ExecutionProvider = Literal["dml", "qnn", "cuda", "cpu"]
Permission = Literal["allow", "ask", "deny"]
LogLevel = Literal["debug", "info", "warning", "error"]
Provider = Literal["local", "openai", "anthropic", "google", "ollama", "openai-compatible"]


def _base(value: str, info: ValidationInfo) -> Path:
    """The folder that a relative path in ``value`` starts from."""
    context = info.context or {}
    return (
        Path.cwd() if isinstance(value, EnvironmentText) else Path(context.get("base", Path.cwd()))
    )


def _place_model(value: Any, info: ValidationInfo) -> Any:
    """Make a folder absolute; leave bare names (``builtin``) alone unless such a folder is there."""
    if not isinstance(value, str) or value == "builtin" or not value:
        return value
    if info.data.get("provider", "local") != "local":
        return value
    path = Path(value).expanduser()
    folder = _base(value, info) / path
    looks_like_path = any(mark in value for mark in ("/", "\\")) or value.startswith((".", "~"))
    return str(folder.resolve()) if looks_like_path or folder.is_dir() else value


def _place_workflow(value: Any, info: ValidationInfo) -> Any:
    """Make the file of ``./file.py:graph`` absolute."""
    if not isinstance(value, str):
        return value
    file, colon, attribute = value.rpartition(":")
    if not colon or not file.endswith(".py"):
        return value
    return f"{(_base(value, info) / Path(file).expanduser()).resolve()}:{attribute}"


def _place_url(value: Any, info: ValidationInfo) -> Any:
    """Make the path of ``sqlite:///notes.db`` absolute."""
    prefix = "sqlite:///"
    if not isinstance(value, str) or not value.startswith(prefix) or value == prefix:
        return value
    path = Path(unquote(value.removeprefix(prefix))).expanduser()
    return f"{prefix}{(_base(value, info) / path).resolve().as_posix()}"


def _place_folder(value: Any, info: ValidationInfo) -> Any:
    """Make a folder absolute; it need not be there yet."""
    if not isinstance(value, str) or not value:
        return value
    return str((_base(value, info) / Path(value).expanduser()).absolute())


def _check_url(value: str) -> str:
    scheme = urlsplit(value).scheme
    if scheme != "sqlite":
        raise ValueError("must start with sqlite:/// (this version stores in SQLite only)")
    if not value.startswith("sqlite:///") or value == "sqlite:///":
        raise ValueError("must be written as sqlite:///path/to/file.db")
    return value


ModelReference = Annotated[str, Field(min_length=1), BeforeValidator(_place_model)]
WorkflowReference = Annotated[
    str, Field(pattern=r"^[^:].*:[A-Za-z_][A-Za-z0-9_.]*$"), BeforeValidator(_place_workflow)
]
FolderPath = Annotated[str, Field(min_length=1), BeforeValidator(_place_folder)]
DatabaseUrl = Annotated[str, Field(pattern=r"^[A-Za-z0-9_+]+:(//|$)"), BeforeValidator(_place_url)]
StorageUrl = Annotated[str, BeforeValidator(_place_url), AfterValidator(_check_url)]


class LocalOptions(_Section):
    """How models run on this machine."""

    execution_providers: Annotated[list[ExecutionProvider], Field(min_length=1)] = Field(
        default=["dml", "qnn", "cuda", "cpu"]
    )
    """The order in which execution providers are tried; the first that can decode a token is used."""
    max_active: Annotated[int, Field(ge=1, le=256)] = 4
    """Requests that a model works on at the same time."""
    queue_limit: Annotated[int, Field(ge=0, le=100_000)] = 64
    """Requests that may wait for a model; one more is refused at once (NF-207)."""
    cache_mb: Annotated[int, Field(ge=0)] = 512
    """Memory, in MiB, for the key-value caches of earlier prompts; 0 keeps none."""
    prefill_slice: Annotated[int, Field(ge=1)] = 128
    """Prompt tokens read in one go; between slices a request can be cancelled and others progress."""
    hang_s: Annotated[float, Field(gt=0)] = 60
    """Seconds without any progress after which the worker process is stopped."""
    load_timeout_s: Annotated[float, Field(gt=0)] = 300
    """Seconds that loading a model may take."""
    memory_limit_mb: Annotated[int, Field(ge=64)] | None = None
    """Memory, in MiB, that the worker process may use; unset: no limit of ours."""
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Processor threads for one model; unset: as many as the machine has cores."""
    max_tokens: Annotated[int, Field(ge=1)] = 512
    """Tokens that a reply may have when the request names no limit."""

    @field_validator("execution_providers")
    @classmethod
    def _each_once(cls, value: list[ExecutionProvider]) -> list[ExecutionProvider]:
        if len(set(value)) != len(value):
            raise ValueError("names an execution provider twice")
        return value


class ModelSettings(_Section):
    """A chat model, on this machine or in the cloud."""

    provider: Provider = "local"
    """Who runs the model: `local` is this machine."""
    model: ModelReference = "builtin"
    """Local: `builtin`, or a folder with an onnxruntime-genai model. Else the id that the provider uses."""
    base_url: str | None = None
    """The address of the API; unset: the provider's own. `openai-compatible` needs one."""
    api_key: SecretStr | None = None
    """The key; unset: the provider's usual environment variable."""
    transport: Literal["lean", "sdk"] = "lean"
    """OpenAI and compatible ones: Nearfar's own client, or the `openai` package."""
    price: Price | None = None
    """What a million tokens cost; unset: the published price, where there is one."""
    profile: ModelProfile = ModelProfile()
    """What the model takes; what is not said is taken from what is known of the model."""
    local: LocalOptions = LocalOptions()
    """Options for this model alone; what is not set here comes from the section `local`."""

    @model_validator(mode="after")
    def _goes_together(self) -> "ModelSettings":
        given = self.model_fields_set
        if self.provider == "local":
            only_far = given & {"base_url", "api_key", "transport", "price"}
            if only_far:
                raise ValueError(f"a local model has no {min(only_far)}")
            return self
        if "model" not in given:
            raise ValueError(f"a model of {self.provider} needs its id: model: NAME")
        if "local" in given:
            raise ValueError(f"a model of {self.provider} has no section local")
        if self.provider == "openai-compatible" and not self.base_url:
            raise ValueError("openai-compatible needs base_url: http://HOST:PORT/v1")
        if "transport" in given and not self.provider.startswith("openai"):
            raise ValueError("transport is for openai and openai-compatible")
        return self


class EmbeddingSettings(_Section):
    """An embedding model."""

    provider: Literal["local"] = "local"
    """Who runs the model: `local` is this machine."""
    model: ModelReference = "builtin"
    """`builtin`, or a folder with an ONNX embedding model."""
    batch_size: Annotated[int, Field(ge=1, le=4096)] = 8
    """Texts that are embedded in one go. Small batches stay in the processor's cache."""


class RetrievalSettings(_Section):
    """How documents are split and found."""

    chunk_tokens: Annotated[int, Field(ge=16, le=4096)] = 200
    """Tokens in a passage, at most."""
    chunk_overlap: Annotated[int, Field(ge=0, le=2048)] = 40
    """Tokens that a passage repeats from the one before; at most half of `chunk_tokens` is used."""
    k: Annotated[int, Field(ge=1, le=1000)] = 8
    """Passages that a search returns."""
    fetch_k: Annotated[int, Field(ge=1, le=10_000)] = 40
    """Candidates that each ranking brings before they are joined."""
    max_file_mb: Annotated[float, Field(gt=0)] = 100
    """Files over this size, in MiB, are not read."""
    max_pages: Annotated[int, Field(ge=1)] = 5000
    """PDF files with more pages are not read."""
    read_timeout_s: Annotated[float, Field(gt=0)] = 120
    """Seconds that reading one file may take; then it is given up and reported."""
    exclude: list[str] = Field(default=[])
    """Patterns (`*.log`, `drafts/*`) of files and folders that are passed over in folders."""
    cache_mb: Annotated[int, Field(ge=0)] = 1024
    """Disk space, in MiB, for the indexes that `nearfar ask --docs` keeps; the oldest go first."""


class StorageSettings(_Section):
    """Where runs, ledgers and journals are kept."""

    url: StorageUrl | None = None
    """`sqlite:///path/to/file.db`; unset: nearfar.db under the home folder."""


class PermissionRule(_Section):
    """Says for some calls whether they are allowed."""

    tool: Annotated[str, Field(min_length=1)]
    """The tool's name; `*` and `?` stand for any characters."""
    arguments: dict[str, str] = Field(default={})
    """Patterns by argument; the rule fits a call when all of them do."""
    permission: Permission
    """`allow`, `ask` (a person decides) or `deny`."""


class AuditSettings(_Section):
    """The record of tool calls, audit.jsonl under the home folder."""

    max_mb: Annotated[float, Field(gt=0)] = 16
    """Size, in MiB, at which audit.jsonl is put aside as audit.1.jsonl and a new one begun."""
    keep: Annotated[int, Field(ge=1, le=1000)] = 8
    """Files put aside that are kept; older ones are deleted."""


class FilesToolSettings(_Section):
    """What the tools `files_*` may touch."""

    roots: list[FolderPath] = Field(default=[])
    """Folders that the tools work in; nothing outside of them is read or written."""
    max_file_mb: Annotated[float, Field(gt=0)] = 10
    """Files over this size, in MiB, are neither read nor written."""


class SqlToolSettings(_Section):
    """What the tool `sql` may ask."""

    databases: Annotated[dict[str, DatabaseUrl], Field(repr=False)] = Field(default={})
    """Databases by name, as URLs: `sqlite:///file.db`, `postgresql://...` or another of SQLAlchemy's."""
    functions: list[str] = Field(default=[])
    """SQL functions that may be called besides the well-known harmless ones."""
    max_rows: Annotated[int, Field(ge=1, le=100_000)] = 200
    """Rows that a query returns, at most."""


class DocumentsToolSettings(_Section):
    """What the tool `documents` searches."""

    index: str | None = None
    """The index to search; unset: the call names one, or there is only one."""


class WebToolSettings(_Section):
    """What the tools `web_fetch` and `web_scrape` may reach."""

    hosts: list[Annotated[str, Field(min_length=1)]] = Field(default=[])
    """Hosts that are fetched from without asking: `example.com`, `*.example.com`, or `*` for all."""
    private: list[Annotated[str, Field(pattern=r"^https?://")]] = Field(default=[])
    """Servers on this machine or network that may be reached, such as `http://127.0.0.1:8080`."""
    ports: list[Annotated[int, Field(ge=1, le=65535)]] = Field(default=[80, 443, 8080, 8443])
    """Ports of public servers that may be reached."""
    max_mb: Annotated[float, Field(gt=0, le=100)] = 5
    """Size, in MiB, at which an answer is cut."""


class ApiSettings(_Section):
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


class ToolSettings(_Section):
    """What agents can call, and what they may do with it."""

    permissions: list[PermissionRule] = Field(default=[])
    """Rules in order; the first that fits a call decides, else the tool's own default."""
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


class LogSettings(_Section):
    """What is logged to standard error."""

    level: LogLevel = "warning"
    """The least severe kind of message that is shown."""


class Settings(_Section):
    """Everything that can be configured. Values are checked; an unknown key is an error."""

    models: dict[str, ModelSettings] = Field(default={})
    """Chat models by name; the one called `default` is used when no name is given."""
    routers: dict[str, RouterSettings] = Field(default={})
    """Routers by name; the one called `default` is used when no name is given."""
    budgets: dict[str, BudgetSettings] = Field(default={})
    """Budgets by name; a router names the one that its requests are paid from."""
    caches: dict[str, CacheSettings] = Field(default={})
    """Caches of answers by name; a router names the one that it uses."""
    embeddings: dict[str, EmbeddingSettings] = Field(default={})
    """Embedding models by name; the one called `default` is used when no name is given."""
    local: LocalOptions = LocalOptions()
    """How models run on this machine."""
    retrieval: RetrievalSettings = RetrievalSettings()
    """How documents are split and found."""
    storage: StorageSettings = StorageSettings()
    """Where runs, ledgers and journals are kept."""
    workflows: dict[str, WorkflowReference] = Field(default={})
    """Workflows by name: `package.module:graph` or `./file.py:graph`."""
    tools: ToolSettings = ToolSettings()
    """What agents can call, and what they may do with it."""
    log: LogSettings = LogSettings()
    """What is logged to standard error."""

    @model_validator(mode="after")
    def _names_are_known(self) -> "Settings":
        for name, router in self.routers.items():
            if name in self.models:
                raise ValueError(f"{name!r} is the name of a model and of a router")
            for candidate in router.candidates:
                if candidate not in self.models and candidate != "builtin":
                    raise ValueError(f"the router {name!r} names {candidate!r}, which is no model")
            if router.budget is not None and router.budget not in self.budgets:
                raise ValueError(f"the router {name!r} names {router.budget!r}, which is no budget")
            if router.cache is not None and router.cache not in self.caches:
                raise ValueError(f"the router {name!r} names {router.cache!r}, which is no cache")
        return self

    def local_options(self, name: str | None = None) -> LocalOptions:
        """The engine options of the model called ``name``: its own over the section ``local``."""
        model = self.models.get(name or "default")
        if model is None:
            return self.local
        own = {key: getattr(model.local, key) for key in model.local.model_fields_set}
        return self.local.model_copy(update=own)


@dataclass(frozen=True)
class Loaded:
    """Settings together with where each value came from."""

    settings: Settings
    source: Source


def find_file(path: str | Path | None = None) -> Path | None:
    """The settings file that would be read; None when there is none.

    A path that is given must exist: see ``load_settings``.
    """
    if path is not None:
        return Path(path).expanduser().absolute()
    from platformdirs import user_config_path

    candidates = (Path.cwd(), user_config_path("nearfar", appauthor=False))
    return next((f for folder in candidates if (f := folder / FILE_NAME).is_file()), None)


def read_source(path: str | Path | None = None, environ: Mapping[str, str] | None = None) -> Source:
    """What file and environment say, not yet checked. Raises ConfigurationError."""
    return read(find_file(path), os.environ if environ is None else environ)


def json_schema() -> dict[str, Any]:
    """The JSON Schema of nearfar.yaml."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Settings.model_json_schema(),
        "title": "nearfar.yaml",
    }


def load(path: str | Path | None = None, environ: Mapping[str, str] | None = None) -> Loaded:
    """As ``load_settings``, with the source of every value."""
    source = read_source(path, environ)
    base = source.file.parent if source.file else Path.cwd()
    try:
        settings = Settings.model_validate(source.tree, context={"base": base})
    except ValidationError as error:
        raise explain(error, source, Settings) from None
    return Loaded(settings, source)


def load_settings(path: str | Path | None = None) -> Settings:
    """Read the settings file (``path``, else the first that exists) and the environment.

    Raises ConfigurationError (or a subclass) that names the key, the file and the line.
    """
    return load(path).settings


def resolve(settings: Settings | str | Path | None) -> Settings:
    """What the public functions accept as ``settings``: an object, a file, or None for the usual places."""
    if isinstance(settings, Settings):
        return settings
    if settings is None or isinstance(settings, str | Path):
        return load_settings(settings)
    raise ConfigurationError(
        f"settings must be a Settings object or the path of a file, not {type(settings).__name__}.",
        remedy="Pass nearfar.load_settings(...), a path, or nothing.",
    )


def home() -> Path:
    """The folder for everything Nearfar stores; ``NEARFAR_HOME`` is read at each call.

    The folder is made if it is not there. Raises StorageError when that is impossible.
    """
    chosen = os.environ.get("NEARFAR_HOME")
    if chosen:
        folder = Path(chosen).expanduser().absolute()
    else:
        from platformdirs import user_data_path

        folder = user_data_path("nearfar", appauthor=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"The home folder {folder} cannot be made: {error.strerror or error}.",
            remedy="Set NEARFAR_HOME to a folder that you may write to.",
            data={"path": str(folder)},
        ) from error
    return folder
