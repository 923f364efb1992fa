"""What a node must know to give addresses alone: on its disk, for one process at a time.

    lock         held for as long as the process lives
    known.json   what is declared, and the blocks of which something is kept: as the node last saw them
    given.json   what was given alone and is not in the store yet

Each file is written beside itself, synced, renamed and the folder synced: after a crash it is the old one or the new
one. `known.json` is of one start of the machine: a node that was off for long may have lost its blocks, and has no pod
that could not wait. `given.json` counts always; one that cannot be read is for a person, since nobody else knows
what stands in it. It says each address twice, by its block and as text, so that a slip of who mends it is found.

A thread goes on when nobody waits for it any more. So every change is made to what is there at that moment, one after
the other; and who has closed the files writes nothing, since another process may have them.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ipam.block import Holder
from ipam.keeping import Entry, Gift, Known
from ipam.requests import Declared
from peering.resource import Resource, parse_resource
from peering.resources.ipam import IPAMBlockSpec
from peering.resources.pools import IPAMConfigurationSpec

Json = dict[str, Any]
#: Who has which addresses, since when in Unix seconds.
Use = tuple[Holder, Iterable[Gift], float]

_LOCK, _KNOWN, _GIVEN = "lock", "known.json", "given.json"
_VERSION = 1
_BOOT = Path("/proc/sys/kernel/random/boot_id")


class Occupied(Exception):
    """Another process of the node has the files."""


class Damaged(Exception):
    """What was given alone cannot be read."""


class NodeFiles:
    """The files in the folder of one node; `given` by handle. Threads may write: each waits for the others.

    Who writes raises OSError; else it is on disk on return.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.known: Known | None = None
        self.given: dict[str, Entry] = {}
        self._lock = -1
        self._writing = threading.Lock()

    @property
    def is_open(self) -> bool:
        """Whether this process has them."""
        return self._lock >= 0

    def open(self) -> None:
        """Takes and reads them. Raises Occupied, Damaged, OSError."""
        self.folder.mkdir(0o700, parents=True, exist_ok=True)
        lock = os.open(self.folder / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.given = _given(self._read(_GIVEN))
            self.known = _known(self._read(_KNOWN))
        except BlockingIOError:
            os.close(lock)
            raise Occupied(f"another process has {self.folder / _LOCK}") from None
        except (ValueError, LookupError, TypeError) as error:
            os.close(lock)
            raise Damaged(f"{self.folder / _GIVEN} cannot be read: {error}") from None
        except BaseException:
            os.close(lock)
            raise
        self._lock = lock

    def close(self) -> None:
        """Lets another process have them, once nobody writes any more."""
        with self._writing:
            if self.is_open:
                os.close(self._lock)
                self._lock = -1

    def know(self, known: Known) -> None:
        """In the place of what was known."""
        with self._writing:
            self._write_known(known)

    def note(self, uses: Iterable[Use]) -> None:
        """What is kept and in use from now on, as far as it is known what is kept."""
        with self._writing:
            self._note(uses)

    def give(self, entry: Entry) -> None:
        """Adds it, or puts it in the place of what its handle had."""
        with self._writing:
            self._write_given({**self.given, entry.holder.handle: entry})

    def strike_off(self, entry: Entry) -> None:
        """It is in the store: it stands among what is in use, as what was given with the store."""
        with self._writing:
            self._note([(entry.holder, entry.gifts, entry.at)])
            self._drop(entry.holder.handle)

    def drop(self, handle: str) -> None:
        """Nobody wants it any more."""
        with self._writing:
            self._drop(handle)

    def _note(self, uses: Iterable[Use]) -> None:
        known = self.known
        if known is not None:
            for use in uses:
                known = known.noting(*use)
            self._write_known(known)

    def _drop(self, handle: str) -> None:
        self._write_given({name: entry for name, entry in self.given.items() if name != handle})

    def _write_known(self, known: Known) -> None:
        if known != self.known:
            self._write(_KNOWN, _known_document(known))
            self.known = known

    def _write_given(self, given: dict[str, Entry]) -> None:
        self._write(_GIVEN, {"given": [_entry_document(entry) for entry in given.values()]})
        self.given = given

    def _read(self, name: str) -> Json:
        try:
            document = json.loads((self.folder / name).read_bytes())
        except FileNotFoundError:
            return {}
        except ValueError:
            if name == _KNOWN:
                return {}  # it is read from the store again
            raise
        if not isinstance(document, dict) or document.get("version") != _VERSION:
            if name == _KNOWN:
                return {}
            raise ValueError("another version has written it")
        return document

    def _write(self, name: str, document: Json) -> None:
        if not self.is_open:
            raise OSError(errno.EBADF, "this process has given its files to another")
        text = json.dumps({"version": _VERSION, **document}).encode()
        unfinished = self.folder / f".{name}"
        descriptor = os.open(unfinished, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(descriptor)
        os.replace(unfinished, self.folder / name)
        folder = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _boot() -> str:
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return ""


def _given(document: Json) -> dict[str, Entry]:
    entries = [_entry(one) for one in document["given"]] if document else []
    return {entry.holder.handle: entry for entry in entries}


def _entry(said: Json) -> Entry:
    holder = Holder(said["handle"], said["node"], said["namespace"], said["pod"])
    gifts = tuple((str(cidr), int(ordinal)) for cidr, ordinal in said["gifts"])
    entry = Entry(holder, gifts, float(said["at"]), said["refused"])
    if list(entry.addresses) != said["addresses"]:
        raise ValueError(f"{holder.handle}: gifts are {', '.join(entry.addresses)}, addresses something else")
    return entry


def _entry_document(entry: Entry) -> Json:
    holder = entry.holder
    facts = {"handle": holder.handle, "node": holder.node, "namespace": holder.namespace, "pod": holder.pod}
    return {**facts, "gifts": entry.gifts, "at": entry.at, "refused": entry.refused, "addresses": entry.addresses}


def _known(document: Json) -> Known | None:
    """Nothing where it is of another start of the machine, or cannot be read."""
    if not document or document.get("boot") != _boot():
        return None
    try:
        said = document["declared"]
        pools = [parse_resource(one) for one in said["pools"]]
        configuration = IPAMConfigurationSpec.model_validate(said["configuration"])
        blocks = [IPAMBlockSpec.model_validate(one) for one in document["blocks"]]
        fit = tuple(pool for pool in pools if isinstance(pool, Resource))
        reserved = tuple(str(one) for one in said["reserved"])
        declared = Declared(said["node"], said["nodeLabels"], fit, reserved, configuration)
    except (ValueError, KeyError, TypeError):
        return None
    return Known(declared, {spec.cidr: spec for spec in blocks})


def _known_document(known: Known) -> Json:
    declared = known.declared
    said = {
        "node": declared.node,
        "nodeLabels": dict(declared.node_labels),
        "pools": [pool.to_document() for pool in declared.pools],
        "reserved": declared.reserved,
        "configuration": declared.configuration.model_dump(mode="json", by_alias=True),
    }
    blocks: Mapping[str, IPAMBlockSpec] = known.blocks
    kept = [spec.model_dump(mode="json", by_alias=True) for spec in blocks.values()]
    return {"boot": _boot(), "declared": said, "blocks": kept}
