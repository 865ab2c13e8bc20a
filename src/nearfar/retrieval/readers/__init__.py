"""Readers: a file's text with the places of its parts, or an error that says why not."""

from .document import Block, DocumentText
from .formats import format_of_name
from .read import ReadLimits, read

__all__ = ["Block", "DocumentText", "ReadLimits", "format_of_name", "read"]
