"""The last good declaration on disk: what a reflector starts with while the store is away.

One JSON file for each reflector, replaced as a whole and synced, so that a reader finds the old text or the new one. It
is 0600, and has no password in it, only where each is. A checksum tells a damaged file, a version one that another
release wrote; neither is used.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from peering.prefixes import format_prefix, pack_prefix
from peering.problems import Problem
from peering.resources.bgp_filter import BGPFilterSpec
from peering.session import ReflectorPlan
from reflector.configuration import Owners
from reflector.declaration import Declaration

FORMAT, VERSION = "underlay-reflector", 1

_HINT = "it is not used, and written anew as soon as the store can be read"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Content:
    """A declaration in the types that JSON has."""

    plan: ReflectorPlan
    filters: dict[str, BGPFilterSpec]
    owners: dict[str, tuple[str, ...]]
    shared: tuple[str, ...]
    relays: tuple[str, ...]


_CONTENT = TypeAdapter(_Content)


class SavedPlan:
    """The file of one reflector in a folder, which is made when something is saved."""

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / f"{name}.json"
        self._name = name

    def save(self, declaration: Declaration) -> None:
        """Replaces what was saved. Raises OSError, with the old file in place."""
        content = _CONTENT.dump_python(_content(declaration), mode="json", by_alias=True)
        head = {"format": FORMAT, "version": VERSION, "name": self._name, "sha256": _digest(content)}
        _replace(self.path, json.dumps({**head, "content": content}).encode())

    def read(self) -> Declaration | Problem | None:
        """What was saved, or why it cannot be used; None when nothing was."""
        try:
            document = json.loads(self.path.read_bytes())
        except FileNotFoundError:
            return None
        except OSError as error:
            return self._problem(f"cannot be read: {error.strerror}")
        except (ValueError, RecursionError):
            return self._problem("is damaged: it is not JSON")
        return self._declaration(document)

    def _declaration(self, document: Any) -> Declaration | Problem:
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            return self._problem("is no saved plan of a reflector")
        if document.get("version") != VERSION:
            return self._problem(f"was written by another version of underlay ({document.get('version')!r})")
        if document.get("name") != self._name:
            return self._problem(f"is of another reflector, {document.get('name')!r}")
        if document.get("sha256") != _digest(document.get("content")):
            return self._problem("is damaged: its checksum is another")
        try:
            return _declaration(self._name, _CONTENT.validate_python(document["content"]))
        except (ValidationError, ValueError) as error:
            count = error.error_count() if isinstance(error, ValidationError) else 1
            return self._problem(f"is damaged: {count} of its values cannot be read")

    def _problem(self, message: str) -> Problem:
        return Problem("warning", "saved-plan-unusable", str(self.path), "", message, _HINT)


def _content(declaration: Declaration) -> _Content:
    owners = declaration.owners
    return _Content(
        plan=declaration.plan,
        filters=dict(declaration.filters),
        owners={format_prefix(prefix): tuple(sorted(names)) for prefix, names in owners.by_prefix.items()},
        shared=tuple(sorted(map(format_prefix, owners.shared))),
        relays=tuple(sorted(declaration.relays)),
    )


def _declaration(name: str, content: _Content) -> Declaration:
    by_prefix = {pack_prefix(text): frozenset(names) for text, names in content.owners.items()}
    return Declaration(
        name=name,
        plan=content.plan,
        filters=content.filters,
        owners=Owners(by_prefix, frozenset(map(pack_prefix, content.shared))),
        relays=frozenset(content.relays),
    )


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _replace(path: Path, data: bytes) -> None:
    """Puts a file in place of another, 0600, synced with the folder that names it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{path.name}-*"):  # by a process that was killed while it wrote
        left.unlink(missing_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
