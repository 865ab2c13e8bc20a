"""Metrics, traces and logs. Nothing of it leaves this machine unless someone sets up where to."""

from .logs import configure_logging
from .redaction import MASK, is_secret_key, redact

__all__ = ["MASK", "configure_logging", "is_secret_key", "redact"]
