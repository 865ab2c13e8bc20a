"""OpenAPI 3 files: what operations an API has, and how a call of one becomes a request."""

from .description import Operation, Parameter, load, operations
from .requests import Prepared, path_pattern, prepare, prepare_path

__all__ = [
    "Operation",
    "Parameter",
    "Prepared",
    "load",
    "operations",
    "path_pattern",
    "prepare",
    "prepare_path",
]
