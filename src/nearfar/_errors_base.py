"""The root of the error tree, and the errors that belong to no one part."""

from collections.abc import Mapping
from typing import Any, ClassVar

DOCS_PAGE = "docs/troubleshooting.md"


class NearfarError(Exception):
    """The root. ``str(error)`` is the message alone; the command line adds code and remedy."""

    code: ClassVar[str] = "NF-000"
    exit_code: ClassVar[int] = 1
    default_remedy: ClassVar[str] = ""

    def __init_subclass__(cls) -> None:
        # The tree is public as nearfar.errors: that is what a traceback and a pickle name.
        if cls.__module__.startswith("nearfar._errors_"):
            cls.__module__ = "nearfar.errors"

    def __init__(
        self,
        message: str,
        *,
        remedy: str | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = self.default_remedy if remedy is None else remedy
        self.data: dict[str, Any] = dict(data or {})

    @property
    def docs(self) -> str:
        """Where the documentation speaks about this code."""
        return f"{DOCS_PAGE}#{self.code.lower()}"

    def to_dict(self) -> dict[str, Any]:
        """The object that ``--json`` prints under ``error``; all values are JSON."""
        return {
            "code": self.code,
            "message": self.message,
            "remedy": self.remedy,
            "data": self.data,
        }

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.message, self.remedy, self.data))


def _rebuild(
    kind: type[NearfarError], message: str, remedy: str, data: dict[str, Any]
) -> NearfarError:
    return kind(message, remedy=remedy, data=data)


class InternalError(NearfarError):
    """A defect of Nearfar: something happened that no other error describes."""

    code = "NF-001"
    default_remedy = "Set NEARFAR_DEBUG=1 to see the traceback, and report it with what you ran."


class UsageError(NearfarError):
    """A command was given arguments that do not go together."""

    code = "NF-002"
    exit_code = 2
    default_remedy = "See the command's --help."


class ConfigurationError(NearfarError):
    """nearfar.yaml or an environment variable holds something that cannot be used."""

    code = "NF-101"
    exit_code = 2
    default_remedy = "Mend the named place; `nearfar config check` says whether all is well."


class UnknownKeyError(ConfigurationError):
    """A key that no setting has; data: ``key``, ``nearest``."""

    code = "NF-102"


class MissingVariableError(ConfigurationError):
    """``${NAME}`` without a default names a variable that is not set; data: ``variable``."""

    code = "NF-103"
    default_remedy = "Set the variable, or give a default: ${NAME:default}."


class MissingPackageError(ConfigurationError):
    """Something was asked for that an optional package does; data: ``package``."""

    code = "NF-104"


NearfarError.__module__ = "nearfar.errors"
