"""Takes secrets out of what is shown to people or written to logs."""

import re
from collections.abc import Mapping
from typing import Any

MASK = "********"

_SECRET_KEY = re.compile(
    r"(?:^|[_.-])(?:(?:api|secret|access|private)[_-]?key|token|secrets?|password|passwd|authorization|credentials?)$",
    re.IGNORECASE,
)
# Names that end like a secret's and count or name something else.
_NOT_SECRET = re.compile(r"(?:^|[_.-])(?:stop|eos|bos|pad|special)_token$", re.IGNORECASE)
_SECRET_TEXT = re.compile(
    r"""
      \b(?:sk|pk|rk|xai|gsk|pplx|hf|ghp|gho|ghs|github_pat|glpat)[-_][A-Za-z0-9_-]{16,}
    | \bAIza[A-Za-z0-9_-]{30,}
    | \bAKIA[A-Z0-9]{16}\b
    | \beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]+
    | (?<=\bBearer\ )[A-Za-z0-9._~+/=-]{8,}
    | (?<=://)[^\s/@:]*:[^\s/@]+(?=@)
    """,
    re.VERBOSE,
)


def is_secret_key(name: str) -> bool:
    """Whether a setting or field of this name holds a secret: ``api_key``, ``token``, ``db_password``."""
    return bool(_SECRET_KEY.search(name)) and not _NOT_SECRET.search(name)


def redact(value: Any, *, key: str = "") -> Any:
    """``value`` with secrets masked: under a secret's name all of it, in text what looks like a key.

    Mappings, lists and tuples are copied with their content masked; other objects are returned as
    they are.
    """
    if key and is_secret_key(key) and value not in (None, ""):
        return MASK
    if isinstance(value, str):
        return _SECRET_TEXT.sub(MASK, value)
    if isinstance(value, Mapping):
        return {name: redact(item, key=str(name)) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)([redact(item) for item in value])
    return value
