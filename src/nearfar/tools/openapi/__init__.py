"""OpenAPI 3 files: what operations an API has, and how a call of one becomes a request."""

from .description import Operation, Parameter, load, operations
from .requests import Prepared, prepare

__all__ = ["Operation", "Parameter", "Prepared", "load", "operations", "prepare"]
