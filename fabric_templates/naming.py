"""Names of what we own on a switch.

All of them begin with `UNDERLAY-`: whatever else is on the switch is somebody else's and is left alone. A name
says what the thing is for and nothing that changes with the number of sessions, so that it is the same from
render to render.
"""

from __future__ import annotations

from hashlib import sha256

PREFIX = "UNDERLAY-"
_DIGEST = 6


def owned(limit: int, *parts: str | int) -> str:
    """`owned(63, "NODES", "IN", "V4")` -> `"UNDERLAY-NODES-IN-V4"`, at most `limit` characters."""
    return fit(PREFIX + "-".join(str(part) for part in parts), limit)


def fit(text: str, limit: int) -> str:
    """`text`, or where it is too long its beginning and a digest of the whole: two long texts stay different."""
    if len(text) <= limit:
        return text
    return f"{text[: limit - _DIGEST - 1].rstrip()}-{sha256(text.encode()).hexdigest()[:_DIGEST]}"
