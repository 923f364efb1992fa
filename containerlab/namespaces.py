"""Linux network namespaces, their links and their processes, by way of `ip` (iproute2).

`ip netns` names a namespace by a file in /run/netns; whoever knows the name can enter it. Many changes go into one
`ip -batch` process, since starting processes is what costs time here. A process belongs to a namespace if
/proc/PID/ns/net is the inode of that file: one pass over /proc answers for all namespaces at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

NETNS_DIR = Path("/run/netns")
_KILL_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Completed:
    """A command that has run: `code` is negative for a signal; output is text."""

    argv: tuple[str, ...]
    code: int
    stdout: str
    stderr: str

    @property
    def ok(self) -> bool:
        return self.code == 0

    def reason(self) -> str:
        """The last line it printed, for a message of one line; `ip -batch` ends with one that says nothing."""
        lines = (self.stderr.strip() or self.stdout.strip()).splitlines()
        lines = [line for line in lines if not line.startswith("Command failed")] or lines
        return lines[-1] if lines else f"exit code {self.code}"


class CommandFailed(Exception):
    """A command of the runner itself (not of the user's topology) that should not fail."""

    def __init__(self, done: Completed) -> None:
        super().__init__(f"`{' '.join(done.argv)}`: {done.reason()}")
        self.done = done


def inside(namespace: str, argv: Sequence[str]) -> tuple[str, ...]:
    """The command as it is run in a namespace."""
    return ("ip", "netns", "exec", namespace, *argv)


async def command(argv: Sequence[str], stdin: str = "", env: Mapping[str, str] | None = None) -> Completed:
    """Runs a command with its output captured; `env` is added to ours. A command that does not exist is 127."""
    pipe = asyncio.subprocess.PIPE
    try:
        process = await asyncio.create_subprocess_exec(
            *argv, stdin=pipe, stdout=pipe, stderr=pipe, env={**os.environ, **(env or {})}
        )
    except OSError as error:
        return Completed(tuple(argv), 127, "", str(error))
    try:
        out, err = await process.communicate(stdin.encode())
    except asyncio.CancelledError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise
    stdout, stderr = (output.decode(errors="replace") for output in (out, err))
    return Completed(tuple(argv), process.returncode or 0, stdout, stderr)


async def checked(argv: Sequence[str], stdin: str = "") -> Completed:
    """A command that must not fail; raises CommandFailed."""
    done = await command(argv, stdin)
    if not done.ok:
        raise CommandFailed(done)
    return done


async def run(namespace: str, argv: Sequence[str], stdin: str = "", env: Mapping[str, str] | None = None) -> Completed:
    """Runs a command in a namespace with its output captured."""
    return await command(inside(namespace, argv), stdin, env)


def run_attached(namespace: str, argv: Sequence[str], env: Mapping[str, str] | None = None) -> int:
    """Runs a command in a namespace on the caller's own terminal; returns its exit code."""
    return subprocess.run(inside(namespace, argv), env={**os.environ, **(env or {})}, check=False).returncode


async def ip_batch(lines: Iterable[str], namespace: str | None = None) -> None:
    """`ip` commands in one process, in a namespace if one is named. Stops at the first that fails."""
    text = "\n".join(lines)
    if text:
        prefix = ("ip", "-n", namespace) if namespace else ("ip",)
        await checked((*prefix, "-batch", "-"), text + "\n")


async def links(namespace: str) -> dict[str, int]:
    """Interfaces of a namespace and their MTU in bytes."""
    done = await checked(("ip", "-n", namespace, "-j", "link", "show"))
    return {link["ifname"]: link["mtu"] for link in json.loads(done.stdout or "[]")}


async def delete_links(namespace: str, interfaces: Collection[str]) -> None:
    """Deletes those of the interfaces that are there."""
    there = await links(namespace)
    await ip_batch([f"link del {name}" for name in interfaces if name in there], namespace)


def exists(namespace: str) -> bool:
    """Whether it is there and alive: a file that is no mounted namespace is a left-over of a crash."""
    try:
        return (NETNS_DIR / namespace).stat().st_dev != NETNS_DIR.stat().st_dev
    except OSError:
        return False


def names() -> set[str]:
    """All named namespaces, ours and others'."""
    try:
        return {entry.name for entry in NETNS_DIR.iterdir()}
    except FileNotFoundError:
        return set()


async def create(namespaces: Collection[str]) -> None:
    """Creates those that do not exist, with `lo` down; one process for all."""
    missing = [name for name in namespaces if not exists(name)]
    for name in missing:
        (NETNS_DIR / name).unlink(missing_ok=True)
    await ip_batch(f"netns add {name}" for name in missing)


async def delete(namespaces: Collection[str]) -> None:
    """Deletes those that exist; their links go with them. Kill the processes in them first."""
    await ip_batch(f"netns del {name}" for name in sorted(set(namespaces) & names()))


def pids(namespaces: Collection[str]) -> dict[str, set[int]]:
    """The processes in each of the namespaces, from one pass over /proc."""
    inodes = {_inode(NETNS_DIR / name): name for name in namespaces if exists(name)}
    found: dict[str, set[int]] = {name: set() for name in namespaces}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        name = inodes.get(_inode(Path("/proc", entry, "ns/net")))
        if name is not None:
            found[name].add(int(entry))
    return found


def is_inside(pid: int, namespace: str) -> bool:
    """Whether that process lives in that namespace; a pid that another program was given meanwhile does not."""
    inode = _inode(Path("/proc", str(pid), "ns/net"))
    return inode is not None and inode == _inode(NETNS_DIR / namespace)


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


async def kill(namespaces: Collection[str], first: Collection[int] = ()) -> None:
    """SIGKILL to everything in the namespaces until nothing is left; `first` gets it before the others.

    A supervisor belongs into `first`, or it would bring back what dies before it.
    """
    send(first, signal.SIGKILL)
    deadline = time.monotonic() + _KILL_SECONDS
    while left := set[int]().union(*pids(namespaces).values()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"still alive after SIGKILL: {sorted(left)}")
        send(left, signal.SIGKILL)
        await asyncio.sleep(0.01)


def send(targets: Collection[int], number: int) -> None:
    """A signal to those that still live."""
    for pid in targets:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
