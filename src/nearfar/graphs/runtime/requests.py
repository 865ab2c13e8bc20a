"""From what a caller asks for to a run that can be written down, and back to its graph."""

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from nearfar.errors import UsageError
from nearfar.graphs.loading import parse_place
from nearfar.graphs.plain import to_plain
from nearfar.graphs.registry import Workflow, find
from nearfar.settings import Settings
from nearfar.storage.journal import PRIORITIES, Record


def portable(workflow: Workflow) -> str:
    """A reference that loads the same graph from any folder."""
    place = parse_place(workflow.reference)
    if place is None or not place.is_file:
        return workflow.reference
    return f"{Path(place.target).expanduser().resolve()}:{place.attribute}"


def found_again(record: Record, settings: Settings) -> Workflow:
    """The workflow of a run that was accepted before, perhaps elsewhere. Raises WorkflowError."""
    place = parse_place(record.reference)
    if place is not None and not place.is_file and record.folder not in sys.path:
        sys.path.append(record.folder)
    return find(record.reference, settings)


def digest_of(workflow: str, values: Any, thread_id: str | None) -> str:
    """The same for the same request."""
    body = json.dumps([workflow, to_plain(values), thread_id], sort_keys=True)
    return hashlib.sha256(body.encode()).hexdigest()


def check_priority(priority: str) -> str:
    """Raises UsageError for one that is not known."""
    if priority not in PRIORITIES:
        raise UsageError(
            f"There is no priority {priority!r}.", remedy=f"Known: {', '.join(PRIORITIES)}."
        )
    return priority


def here() -> str:
    """The working directory; empty when it is gone."""
    try:
        return os.getcwd()  # noqa: PTH109
    except OSError:
        return ""
