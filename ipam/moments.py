"""Times in IPAM's documents: whole seconds of UTC as text (RFC 3339), Unix seconds in the code. Pure.

The clock of a node may be wrong or be set. What waits for a time to pass therefore waits only while the time lies
within its span of now, before or after: a time far in the future is a clock that was set back, and nothing waits.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FORM = "%Y-%m-%dT%H:%M:%SZ"


def moment_text(unix: float) -> str:
    """`1767225600.7` -> `2026-01-01T00:00:00Z`."""
    return _text_of(int(unix))


def is_recent(moment: str, now: float, span: float) -> bool:
    """Whether the moment is less than `span` seconds from now. One that is not known is not."""
    then = _unix_of(moment)
    return then is not None and abs(now - then) < span


@lru_cache(maxsize=256)
def _text_of(seconds: int) -> str:
    return (_EPOCH + timedelta(seconds=seconds)).strftime(_FORM)


@lru_cache(maxsize=4096)
def _unix_of(moment: str) -> float | None:
    try:
        return (datetime.strptime(moment, _FORM).replace(tzinfo=UTC) - _EPOCH).total_seconds()
    except ValueError:
        return None
