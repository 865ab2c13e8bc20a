"""The tools by name. A module is loaded when its tool is asked for."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nearfar.errors import ToolNotFoundError, UsageError
from nearfar.settings import Settings, resolve

if TYPE_CHECKING:
    from langchain_core.tools import BaseTool

# Name -> (module, function). The function takes settings and options, and gives a tool or, where
# a configuration decides how many there are, a list of tools.
TOOLS: dict[str, tuple[str, str]] = {
    "calculator": (".calculator", "calculator"),
    "chart": (".chart", "chart"),
    "documents": (".documents", "documents"),
    "files_list": (".files", "files_list"),
    "files_read": (".files", "files_read"),
    "files_search": (".files", "files_search"),
    "files_write": (".files", "files_write"),
    "files_edit": (".files", "files_edit"),
    "http_api": (".http_api", "http_api"),
    "sql": (".sql", "sql"),
    "web_fetch": (".web_fetch", "web_fetch"),
    "web_scrape": (".web_scrape", "web_scrape"),
}
GROUPS: dict[str, tuple[str, ...]] = {
    "files": tuple(name for name in TOOLS if name.startswith("files_")),
    "web": ("web_fetch", "web_scrape"),
}
_LIMITS = ("timeout_s", "max_output_chars", "max_argument_chars", "permissions")


def names() -> list[str]:
    """All tools that come with Nearfar, sorted."""
    return sorted(TOOLS)


def tool(name: str, settings: Settings | str | Path | None = None, **options: Any) -> "BaseTool":
    """The tool called ``name``.

    ``options`` are those of the tool (``roots``, ``databases``, ...); ``timeout_s``,
    ``max_output_chars``, ``max_argument_chars`` and ``permissions`` (a list of rules) win over the
    settings for every tool. Raises ToolNotFoundError, UsageError, ConfigurationError.
    """
    made = _make(name, settings, options)
    if len(made) != 1:
        raise UsageError(
            f"'{name}' stands for {len(made)} tools here.",
            remedy=f"Use nearfar.tools.tools(['{name}']).",
            data={"name": name, "tools": [one.name for one in made]},
        )
    return made[0]


def tools(names: Sequence[str], settings: Settings | str | Path | None = None) -> list["BaseTool"]:
    """The tools of these names, in order, each once; ``files`` stands for all of ``files_*``."""
    resolved = resolve(settings)
    found: dict[str, BaseTool] = {}
    for name in names:
        for one in _make(name, resolved, {}):
            found.setdefault(one.name, one)
    return list(found.values())


def _make(
    name: str, settings: Settings | str | Path | None, options: dict[str, Any]
) -> list["BaseTool"]:
    if name not in TOOLS and name not in GROUPS:
        raise ToolNotFoundError(
            f"There is no tool '{name}'.", data={"name": name, "known": names()}
        )
    resolved = _with_limits(resolve(settings), options)
    rest = {key: value for key, value in options.items() if key not in _LIMITS}
    made: list[BaseTool] = []
    for one in GROUPS.get(name, (name,)):
        module, function = TOOLS[one]
        try:
            result = getattr(import_module(module, __package__), function)(resolved, **rest)
        except TypeError as error:
            if not rest or "argument" not in str(error):
                raise
            raise UsageError(f"The tool '{one}' has no such option: {error}.") from error
        made += result if isinstance(result, list) else [result]
    return made


def _with_limits(settings: Settings, options: dict[str, Any]) -> Settings:
    """The settings with the options that every tool has laid over them, checked like those."""
    own = {key: options[key] for key in _LIMITS if key in options}
    if not own:
        return settings
    kind = type(settings.tools)
    section = kind.model_validate({**dict(settings.tools), **own})
    return settings.model_copy(update={"tools": section})
