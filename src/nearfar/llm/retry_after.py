"""The Retry-After header (RFC 9110, 10.2.3): seconds or an HTTP date."""

import math
import time
from email.utils import parsedate_to_datetime

LONGEST_S = 24 * 3600.0


def parse_retry_after(value: str | None, *, now: float | None = None) -> float | None:
    """Seconds to wait, at least 0 and at most a day; None where the header is absent or garbage.

    ``now`` is the time in seconds since the epoch that an HTTP date is held against.
    """
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            moment = parsedate_to_datetime(value).timestamp()
        except (ValueError, TypeError, OverflowError):
            return None
        seconds = moment - (time.time() if now is None else now)
    if not math.isfinite(seconds):
        return None
    return min(max(seconds, 0.0), LONGEST_S)
