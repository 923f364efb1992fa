"""What a process has seen of the cluster, in a file: for one that starts while the API server is away.

    runs, and all watches are well ─► writes the file some seconds after a change, and touches it now and then
    starts, and a first list fails ─► goes on with what stands there, until the list succeeds

So the file is as old as the last word from the cluster. One that is too old is not believed: what is the node's may
have been given to another since. Nor is one of another cluster, or of another version. It has passwords: mode 0600, and
it belongs where nothing outlives the start of the machine (/run).
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from peering.store.kubernetes.objects import Packed
from peering.store.kubernetes.selection import Selection

_VERSION = 1
#: Seconds. An outage and the repair of what caused it are over by then, or somebody knows of it.
OLDEST_S = 3600.0


class LastSeen:
    """The file of one process. `cluster`: which one it is, as text. `clock` gives Unix seconds."""

    def __init__(self, file: Path, cluster: str, clock: Callable[[], float] = time.time) -> None:
        self._file = file
        self._cluster = cluster
        self._clock = clock
        self._read: Mapping[str, Sequence[Sequence[Any]]] | None = None

    def of(self, selection: Selection) -> list[Packed] | None:
        """What stood there when this process started; None where nothing is known of the selection."""
        if self._read is None:
            self._read = self._load()
        rows = self._read.get(_key(selection))
        if rows is None:
            return None
        return [Packed(selection.source, str(name), int(version), raw.encode()) for name, version, raw in rows]

    def write(self, seen: Iterable[tuple[Selection, Sequence[Packed]]]) -> None:
        """Puts it in the place of what is there, as a whole. Raises OSError."""
        rows = {_key(chosen): [(one.name, one.version, one.raw.decode()) for one in found] for chosen, found in seen}
        document = {"version": _VERSION, "cluster": self._cluster, "seen": rows}
        unfinished = self._file.with_name(f".{self._file.name}")
        descriptor = os.open(unfinished, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as stream:
            json.dump(document, stream)
        os.replace(unfinished, self._file)
        self._read = {}

    def touch(self) -> None:
        """It is still what the cluster says. Raises OSError."""
        os.utime(self._file)

    def _load(self) -> Mapping[str, Sequence[Sequence[Any]]]:
        """Nothing where there is none to be believed: then it is as if the machine had just been started."""
        try:
            age = self._clock() - self._file.stat().st_mtime
            document = json.loads(self._file.read_bytes())
        except (OSError, ValueError):
            return {}
        if not isinstance(document, dict) or not -OLDEST_S <= age <= OLDEST_S:
            return {}
        if (document.get("version"), document.get("cluster")) != (_VERSION, self._cluster):
            return {}
        seen: Mapping[str, Sequence[Sequence[Any]]] = document["seen"]
        return seen


def _key(selection: Selection) -> str:
    return " ".join((selection.source.path(), *(f"{name}={text}" for name, text in selection.query().items())))
