"""`--store` and `UNDERLAY_STORE`: which engine a command works on."""

from __future__ import annotations

from pathlib import Path

from peering.store.protocol import Store, StoreError
from peering.store.sqlite import SqliteStore

DEFAULT_STORE = "sqlite:/var/lib/underlay/store.db"


def open_store(url: str) -> Store:
    """`sqlite:PATH`. Raises StoreError for what is no store."""
    engine, _, rest = url.partition(":")
    if engine != "sqlite" or not rest:
        raise StoreError(f"--store: {url!r} is no store (use sqlite:PATH, such as {DEFAULT_STORE})")
    return SqliteStore(Path(rest))
