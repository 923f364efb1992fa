"""What a running lab remembers on disk: the namespaces it made, the links it wired, what each node has had done.

    RUN_DIR/.lock              held (flock) while somebody changes the lab
    RUN_DIR/lab.json           namespaces -> node, links; a namespace is written down before it is made
    RUN_DIR/nodes/NODE/        the node's files, as its container would see them (etc/..., run/...)
    RUN_DIR/nodes/NODE/init/   node_init's spec, state and pid files;  log/ beside it
    RUN_DIR/nodes/NODE/node.json   sysctls and exec lines already applied

Because the intent is written first, `down` finds everything however far `up` came, and needs no topology.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from containerlab.topology import Endpoint, Link

_LOCK_POLL = 0.05


class LabBusy(Exception):
    """Somebody else is changing this lab, and did not finish in time."""


@dataclass(slots=True)
class LabState:
    """`namespaces`: name -> the node it belongs to (pods have their own); `links`: those that were made."""

    name: str = ""
    namespaces: dict[str, str] = field(default_factory=dict)
    links: list[Link] = field(default_factory=list)

    @classmethod
    def load(cls, run_dir: Path) -> LabState:
        raw = read_json(run_dir / "lab.json")
        links = [Link(Endpoint(**link["a"]), Endpoint(**link["b"]), link["mtu"]) for link in raw.get("links", [])]
        return cls(raw.get("name", ""), raw.get("namespaces", {}), links)

    def save(self, run_dir: Path) -> None:
        links = [asdict(link) for link in self.links]
        write_json(run_dir / "lab.json", {"name": self.name, "namespaces": self.namespaces, "links": links})

    def of_node(self, node: str) -> list[str]:
        """The namespaces of a node: its own and its pods'."""
        return [namespace for namespace, owner in self.namespaces.items() if owner == node]


@dataclass(slots=True)
class NodeRecord:
    """What a node has had applied since its namespace was made."""

    sysctls: dict[str, str] = field(default_factory=dict)
    exec: list[str] = field(default_factory=list)

    @classmethod
    def load(cls, node_dir: Path) -> NodeRecord:
        raw = read_json(node_dir / "node.json")
        return cls(raw.get("sysctls", {}), raw.get("exec", []))

    def save(self, node_dir: Path) -> None:
        write_json(node_dir / "node.json", {"sysctls": self.sysctls, "exec": self.exec})


def read_json(path: Path) -> dict[str, Any]:
    """An object; empty if there is none, or only the rest of one that a crash left."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return raw if isinstance(raw, dict) else {}


def write_json(path: Path, value: object) -> None:
    new = path.with_name(path.name + ".new")
    new.write_text(json.dumps(value, indent=1), encoding="utf-8")
    new.replace(path)


@contextlib.asynccontextmanager
async def locked(run_dir: Path, seconds: float = 60.0) -> AsyncIterator[None]:
    """The one right to change the lab of `run_dir`; waits up to `seconds` for it, then LabBusy."""
    deadline = time.monotonic() + seconds
    while (descriptor := _try_lock(run_dir / ".lock")) is None:
        if time.monotonic() > deadline:
            raise LabBusy(f"{run_dir}: another command is still changing this lab")
        await asyncio.sleep(_LOCK_POLL)
    try:
        yield
    finally:
        os.close(descriptor)


def _try_lock(path: Path) -> int | None:
    """The descriptor that holds the lock. A file that `down` removed meanwhile locks nobody out: try again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), path.stat()):
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(descriptor)
    return None
