"""A subnet of namespaces for the reflector and its clients, and the processes in them.

Every name is unique to the lab, every process is a child of the test in a process group of its own, and leaving the lab
ends exactly those. Host N is 10.90.0.N and fd00:90::N.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

AS = 64512
PASSWORD = "of-all-sessions"
#: Seconds to wait for what has to come: much more than it takes, on a machine that has other things to do.
PATIENCE = 60.0
_CLONE_NEWNET = 0x40000000
_LIBC = ctypes.CDLL(None, use_errno=True)


def command(*argv: str, check: bool = True) -> str:
    """What it prints; with `check` an error, with its output, where it fails."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
    return done.stdout


def eventually(what: Callable[[], bool], within: float = PATIENCE, why: Callable[[], object] = lambda: "") -> None:
    """Waits for something that only asking can tell; `why` is what an error shows."""
    deadline = time.monotonic() + within
    while not what():
        assert time.monotonic() < deadline, f"not within {within} s: {why()}"
        time.sleep(0.05)


def throughout(what: Callable[[], bool], seconds: float) -> None:
    """Looks again and again for that long whether something stays true; a look that ends later says nothing."""
    deadline = time.monotonic() + seconds
    looks = 0
    while True:
        is_so = what()
        if time.monotonic() > deadline:
            break
        assert is_so, "it was not so for a while"
        looks += 1
        time.sleep(0.05)
    assert looks, f"too slow to look even once in {seconds} s"


@dataclass(frozen=True)
class Host:
    """A namespace with one port of the bridge, eth0."""

    number: int
    namespace: str
    folder: Path

    @property
    def ipv4(self) -> str:
        return f"10.90.0.{self.number}"

    @property
    def ipv6(self) -> str:
        return f"fd00:90::{self.number}"

    def address(self, version: int) -> str:
        return self.ipv4 if version == 4 else self.ipv6

    def run(self, *argv: str, check: bool = True) -> str:
        return command("ip", "netns", "exec", self.namespace, *argv, check=check)

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Sockets that this thread opens inside belong to the host; the test process itself stays where it is."""
        with Path("/proc/self/ns/net").open("rb") as home, Path(f"/run/netns/{self.namespace}").open("rb") as there:
            _enter(there.fileno())
            try:
                yield
            finally:
                _enter(home.fileno())

    def connections(self) -> set[tuple[str, str]]:
        """Both ends of every established BGP connection. The port of who dialed tells one from the next."""
        shown = self.run("ss", "-Htn", "state", "established", "( sport = :179 or dport = :179 )")
        return {(line.split()[2], line.split()[3]) for line in shown.splitlines()}

    def counter(self, name: str) -> int:
        """A counter of the TCP stack (/proc/net/netstat)."""
        names, values = (line.split() for line in self.run("cat", "/proc/net/netstat").splitlines()[:2])
        return int(dict(zip(names, values, strict=True))[name])


def _enter(descriptor: int) -> None:
    if _LIBC.setns(descriptor, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


class Lab:
    """Hosts on a bridge; a context that leaves nothing behind."""

    def __init__(self) -> None:
        self._tag = f"ur{secrets.token_hex(3)}"
        self.folder = Path("/run") / f"underlay-{self._tag}"  # where FRR's and OpenBGPD's own users get at it
        self._bridge = f"{self._tag}-br"
        self._namespaces: list[str] = []
        self._folders: list[Path] = []
        self.processes: list[Process] = []

    def __enter__(self) -> Self:
        self.folder.mkdir(mode=0o755)
        self._namespace(self._bridge)
        command("ip", "-n", self._bridge, "link", "add", "br0", "type", "bridge")
        command("ip", "-n", self._bridge, "link", "set", "br0", "up")
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            process.kill()
        for namespace in self._namespaces:
            for pid in command("ip", "netns", "pids", namespace).split():  # what a daemon left when it was killed
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            command("ip", "netns", "del", namespace)
        for folder in (self.folder, *self._folders):
            shutil.rmtree(folder)

    def host(self, name: str, number: int) -> Host:
        made = Host(number, f"{self._tag}-{name}", self.folder / name)
        made.folder.mkdir(mode=0o777)
        made.folder.chmod(0o777)
        self._namespace(made.namespace)
        # No detection of duplicates: FRR drops IPv6 sessions until its link-local address is settled.
        made.run("sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0", "net.ipv6.conf.all.accept_dad=0")
        peer = ("peer", "name", "eth0", "netns", made.namespace)
        command("ip", "link", "add", f"p{number}", "netns", self._bridge, "type", "veth", *peer)
        command("ip", "-n", self._bridge, "link", "set", f"p{number}", "master", "br0", "up")
        for address in (f"{made.ipv4}/24", f"{made.ipv6}/64"):
            command("ip", "-n", made.namespace, "address", "add", address, "dev", "eth0")
        command("ip", "-n", made.namespace, "link", "set", "eth0", "up")
        return made

    def need_folder(self, folder: Path) -> None:
        """One that has its place on the machine; it goes with the lab if it was not there before."""
        if not folder.exists():
            folder.mkdir(mode=0o755)
            self._folders.append(folder)

    def _namespace(self, name: str) -> None:
        command("ip", "netns", "add", name)
        self._namespaces.append(name)
        command("ip", "-n", name, "link", "set", "lo", "up")


class Process:
    """A program on a host with its log; it and its children are one process group."""

    def __init__(self, lab: Lab, host: Host, log: str) -> None:
        self.log = host.folder / log
        self._host = host
        self._child: subprocess.Popen[bytes] | None = None
        lab.processes.append(self)

    @property
    def pid(self) -> int:
        assert self._child is not None
        return self._child.pid

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def start(self, *argv: str, environment: dict[str, str] | None = None, folder: Path = Path("/")) -> None:
        assert not self.running
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                ("ip", "netns", "exec", self._host.namespace, *argv),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | (environment or {}),
                cwd=folder,
                start_new_session=True,
            )

    def terminate(self, within: float = PATIENCE) -> int:
        """Asks it to end, and says how it did."""
        assert self._child is not None
        self._child.terminate()
        code = self._child.wait(within)
        self.kill()
        return code

    def kill(self) -> None:
        """Ends it and its children at once, without a word."""
        if self._child is not None:
            self.signal_all(signal.SIGKILL)
            self._child.wait()
            self._child = None

    def signal_all(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def said(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""
