"""`--store` and `UNDERLAY_STORE`: which engine a command works on."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from pathlib import Path

from peering.store.interest import Interest
from peering.store.protocol import Store, StoreError
from peering.store.sqlite import SqliteStore

DEFAULT_STORE = "sqlite:/var/lib/underlay/store.db"
_KUBERNETES = "kubernetes"
_CALICO = "calico-crds"
#: Only who uses a cluster has to have the client, and the time and memory that it takes.
_ENGINE = "peering.store.kubernetes.store"


def open_store(url: str, interests: Iterable[Interest] | None = None, last_seen: Path | None = None) -> Store:
    """`sqlite:PATH`, or `kubernetes:CONTEXT`. Raises StoreError for what is no store.

    A process that stays gives its `interests`, be they none: what it reads is watched from then on. In the file
    `last_seen` a store that is on another machine keeps that for the process that comes after this one.
    """
    engine, _, rest = url.partition(":")
    if engine.partition("?")[0] == _KUBERNETES:
        return _open_cluster(url.removeprefix(_KUBERNETES).removeprefix(":"), interests, last_seen)
    if engine != "sqlite" or not rest:
        raise StoreError(
            f"--store: {url!r} is no store (use sqlite:PATH, such as {DEFAULT_STORE}, or kubernetes:CONTEXT)"
        )
    return SqliteStore(Path(rest))


def reading_calico(url: str) -> str:
    """The URL with the setting that has Calico's resources of a cluster read. Raises StoreError for other stores."""
    place, _, query = url.partition("?")
    if place.partition(":")[0] != _KUBERNETES:
        raise StoreError(f"{url} has no resources of Calico's: use --store kubernetes")
    settings = [setting for setting in query.split("&") if setting]
    return url if _CALICO in settings else f"{place}?{'&'.join([*settings, _CALICO])}"


def _open_cluster(rest: str, interests: Iterable[Interest] | None, last_seen: Path | None) -> Store:
    try:
        engine = import_module(_ENGINE)
    except ModuleNotFoundError as error:
        missing = str(error.name).partition(".")[0]
        if missing in ("kubernetes", "aiohttp"):
            raise StoreError(
                f"--store kubernetes: {missing} is not installed: pip install 'underlay[kubernetes]'"
            ) from None
        raise
    store: Store = engine.open_cluster(rest, interests, last_seen)
    return store
