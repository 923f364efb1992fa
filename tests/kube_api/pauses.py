"""Short pauses between tries for a store in a test: their order is what counts."""

from __future__ import annotations

import pytest

from peering.store.kubernetes import api, follower


def shorten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of requests and of watches."""
    monkeypatch.setattr(api, "_FIRST_PAUSE_S", 0.005)
    monkeypatch.setattr(api, "_LAST_PAUSE_S", 0.02)
    monkeypatch.setattr(follower, "_FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(follower, "_LAST_PAUSE_S", 0.1)
