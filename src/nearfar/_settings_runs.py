"""How runs are worked on."""

from typing import Annotated

from pydantic import Field

from ._settings_section import Section as _Section


class RunSettings(_Section):
    """How durable runs are worked on."""

    concurrency: Annotated[int, Field(ge=1, le=1000)] = 8
    """Runs that one process works on at the same time; the others wait their turn."""
    lease_s: Annotated[float, Field(gt=0, le=3600)] = 10
    """Seconds after which a run is taken over from a process that gives no sign of life."""
    max_crashes: Annotated[int, Field(ge=1, le=100)] = 5
    """Times that the program may die at the same step of a run; then the run is set aside (NF-511)."""
    answer_within_s: Annotated[float, Field(gt=0)] | None = None
    """Seconds that a run waits for a person; then it fails (NF-512). Unset: without end."""
