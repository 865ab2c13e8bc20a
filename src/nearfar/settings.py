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
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from ._settings_agents import AgentLimits, AssistantSettings
from ._settings_documents import EmbeddingSettings, RetrievalSettings
from ._settings_far import (
    BreakerSettings,
    BudgetSettings,
    CacheSettings,
    ModelProfile,
    Price,
    RouterSettings,
)
from ._settings_places import FolderPath, ModelReference
from ._settings_policies import PolicySettings, RuleSettings, Share, WhenSettings
from ._settings_policies import described as described_policy
from ._settings_policies import hours as policy_hours
from ._settings_policies import inner as parts_of_policy
from ._settings_privacy import ContentSettings, PrivacySettings, ReceiptSettings
from ._settings_problems import explain
from ._settings_runs import LimitSettings, QueueSettings, RunSettings
from ._settings_section import Section as _Section
from ._settings_source import Source, dotted, read
from ._settings_storage import EncryptionSettings, RetentionSettings, StorageSettings
from ._settings_tools import (
    ApiSettings,
    AuditSettings,
    DocumentsToolSettings,
    FilesToolSettings,
    McpServerSettings,
    McpSettings,
    Permission,
    PermissionRule,
    SqlToolSettings,
    ToolSettings,
    WebToolSettings,
)
from ._settings_workflows import NodeSettings, RetrySettings, WorkflowEntry, WorkflowSettings
from .errors import ConfigurationError, StorageError

__all__ = [
    "FILE_NAME",
    "AgentLimits",
    "ApiSettings",
    "AssistantSettings",
    "AuditSettings",
    "BreakerSettings",
    "BudgetSettings",
    "CacheSettings",
    "ContentSettings",
    "DocumentsToolSettings",
    "EmbeddingSettings",
    "EncryptionSettings",
    "FilesToolSettings",
    "LimitSettings",
    "Loaded",
    "LocalOptions",
    "LogSettings",
    "McpServerSettings",
    "McpSettings",
    "ModelProfile",
    "ModelSettings",
    "NodeSettings",
    "Permission",
    "PermissionRule",
    "PolicySettings",
    "Price",
    "PrivacySettings",
    "PromptSettings",
    "QueueSettings",
    "ReceiptSettings",
    "RetentionSettings",
    "RetrievalSettings",
    "RetrySettings",
    "RouterSettings",
    "RuleSettings",
    "RunSettings",
    "Settings",
    "Source",
    "SqlToolSettings",
    "StorageSettings",
    "ToolSettings",
    "WebToolSettings",
    "WhenSettings",
    "WorkflowSettings",
    "described_policy",
    "dotted",
    "find_file",
    "home",
    "json_schema",
    "load",
    "load_settings",
    "parts_of_policy",
    "policy_hours",
    "read_source",
    "resolve",
]

FILE_NAME = "nearfar.yaml"

ExecutionProvider = Literal["dml", "qnn", "cuda", "cpu"]
LogLevel = Literal["debug", "info", "warning", "error"]
Provider = Literal["local", "openai", "anthropic", "google", "ollama", "openai-compatible"]


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
    """The key, or `keyring`; unset: the provider's environment variable, else the keyring."""
    transport: Literal["lean", "sdk"] = "lean"
    """OpenAI and compatible ones: Nearfar's own client, or the `openai` package."""
    price: Price | None = None
    """What a million tokens cost; unset: the published price, where there is one."""
    profile: ModelProfile = ModelProfile()
    """What the model takes; what is not said is taken from what is known of the model."""
    quality: Share | None = None
    """How good its answers are, from 0 to 1, for the policy `quality`."""
    max_concurrency: Annotated[int, Field(ge=1)] | None = None
    """Requests that all routers of a program may send to it at the same time; unset: no limit."""
    max_waiting: Annotated[int, Field(ge=0)] = 256
    """Requests that may wait where `max_concurrency` is reached; one more is refused (NF-244)."""
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


class PromptSettings(_Section):
    """Templates of prompts."""

    folder: FolderPath | None = None
    """Your own templates; one of the same name goes before the one that comes with Nearfar."""


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
    privacy: PrivacySettings = PrivacySettings()
    """What keeps a request of a router on this machine."""
    content: ContentSettings = ContentSettings()
    """Requests of a router that are blocked, or kept near, for what they ask."""
    receipts: ReceiptSettings = ReceiptSettings()
    """The receipts of routers."""
    embeddings: dict[str, EmbeddingSettings] = Field(default={})
    """Embedding models by name; the one called `default` is used when no name is given."""
    local: LocalOptions = LocalOptions()
    """How models run on this machine."""
    retrieval: RetrievalSettings = RetrievalSettings()
    """How documents are split and found."""
    storage: StorageSettings = StorageSettings()
    """Where runs, ledgers and journals are kept."""
    runs: RunSettings = RunSettings()
    """How durable runs are worked on."""
    queue: QueueSettings = QueueSettings()
    """Which queued runs `nearfar worker` begins; for runs in a Postgres."""
    workflows: dict[str, WorkflowEntry] = Field(default={})
    """Workflows by name: `package.module:graph`, `./file.py:graph` or a crew, `./crew.yaml`; or a section."""
    tools: ToolSettings = ToolSettings()
    """What agents can call, and what they may do with it."""
    mcp: McpSettings = McpSettings()
    """The Model Context Protocol: servers that agents use, and `nearfar mcp`."""
    prompts: PromptSettings = PromptSettings()
    """Templates of prompts."""
    assistant: AssistantSettings = AssistantSettings()
    """The workflow `assistant`, and `nearfar chat`."""
    log: LogSettings = LogSettings()
    """What is logged to standard error."""

    @model_validator(mode="after")
    def _a_queue_has_a_server(self) -> "Settings":
        limited = self.queue.workflows or self.queue.tenants
        if limited and not (self.storage.url or "").startswith("postgres"):
            raise ValueError("queue: limits hold for runs in a Postgres, which storage.url names")
        return self

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
        if self.assistant.budget is not None and self.assistant.budget not in self.budgets:
            raise ValueError(f"assistant names {self.assistant.budget!r}, which is no budget")
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
