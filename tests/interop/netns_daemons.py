"""FRR and BIRD in namespaces of their own, for tests that ask real daemons what a configuration means.

Every name is unique to the test, every process is a child of it, and `close` removes exactly those.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

DAEMONS = Path("/usr/lib/frr")


def command(*argv: str) -> str:
    """What it prints; an error with its output where it fails."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
    return done.stdout


def eventually(what: Callable[[], bool], within: float = 30.0) -> None:
    """Wait until `what` is true, looking often."""
    deadline = time.monotonic() + within
    while not what():
        assert time.monotonic() < deadline, f"not within {within} s"
        time.sleep(0.05)


class Network:
    """Namespaces, the links between them and the daemons in them; a context that leaves nothing behind."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._id = secrets.token_hex(3)
        self._directories = 0
        self.directory = Path(tempfile.mkdtemp(prefix="underlay-daemons-"))
        self.directory.chmod(0o755)  # FRR drops to its own user and must reach its sockets
        self._stack.callback(shutil.rmtree, self.directory)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def namespace(self, name: str) -> str:
        full = f"ul{self._id}-{name}"
        command("ip", "netns", "add", full)
        self._stack.callback(command, "ip", "netns", "del", full)
        command("ip", "-n", full, "link", "set", "lo", "up")
        return full

    def link(self, one: str, other: str, name: str, pairs: dict[str, str]) -> None:
        """A veth pair called `name` at both ends; `pairs` is {address of one: address of other}."""
        peer = ("peer", "name", name, "netns", other)
        command("ip", "link", "add", "name", name, "netns", one, "type", "veth", *peer)
        for namespace, addresses in ((one, list(pairs)), (other, list(pairs.values()))):
            for address in addresses:
                nodad = ("nodad",) if ":" in address else ()
                command("ip", "-n", namespace, "address", "add", address, "dev", name, *nodad)
            command("ip", "-n", namespace, "link", "set", name, "up")
        for namespace in (one, other):  # FRR drops IPv6 sessions until the link-local address is there
            eventually(lambda n=namespace: _is_settled(n, name))  # type: ignore[misc]

    def start(self, namespace: str, *argv: str) -> None:
        """A daemon in the foreground of the namespace, ended with the network."""
        log = (self.directory / f"{namespace}.log").open("a")
        child = subprocess.Popen(("ip", "netns", "exec", namespace, *argv), stdout=log, stderr=log)
        self._stack.callback(_end, child, log)

    def new_directory(self, owner: str) -> Path:
        self._directories += 1
        directory = self.directory / str(self._directories)
        directory.mkdir(mode=0o755)
        shutil.chown(directory, owner, owner)
        return directory


def _is_settled(namespace: str, link: str) -> bool:
    shown = command("ip", "-n", namespace, "-6", "address", "show", "dev", link)
    return "inet6 fe80" in shown and "tentative" not in shown


def _end(child: subprocess.Popen[bytes], log: Any) -> None:
    child.terminate()
    try:
        child.wait(10)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    log.close()


class Frr:
    """bgpd, and with `zebra` the kernel's interfaces, on a configuration as a switch would have it.

    With `integrated` staticd and bfdd run too, and the configuration is given to all by vtysh, as `frr.conf` is.
    With `rib` what bgpd chooses goes into the kernel of the namespace.
    """

    def __init__(
        self,
        network: Network,
        namespace: str,
        configuration: str,
        *,
        zebra: bool,
        integrated: bool = False,
        rib: bool = False,
    ) -> None:
        self.namespace = namespace
        self.directory = network.new_directory("frr")
        self.file = self.directory / "bgpd.conf"
        self.write(configuration)
        sockets = ("--vty_socket", str(self.directory), "-z", str(self.directory / "zserv.api"), "-P", "0")
        if zebra:
            pid, empty = str(self.directory / "zebra.pid"), self.directory / "zebra.conf"
            empty.touch()  # without one it reads the machine's own
            network.start(namespace, str(DAEMONS / "zebra"), *sockets, "-i", pid, "-f", str(empty))
            eventually(lambda: (self.directory / "zserv.api").exists())
        alone = (() if zebra else ("-Z",)) + (() if rib else ("-n",))
        if integrated:
            self._start_empty(network, "staticd", *sockets)
            self._start_empty(network, "bfdd", "--bfdctl", str(self.directory / "bfdd.sock"), *sockets)
            self._start_empty(network, "bgpd", *alone, *sockets)
            assert self.load() == (0, "")
        else:
            pid = str(self.directory / "bgpd.pid")
            options = ("--log", "stdout", "-f", str(self.file), "-i", pid)
            network.start(namespace, str(DAEMONS / "bgpd"), *options, *alone, *sockets)
        eventually(lambda: "\nrouter bgp " in self.ask("show running-config"))

    def _start_empty(self, network: Network, daemon: str, *options: str) -> None:
        empty = self.directory / "empty.conf"
        empty.touch()
        shutil.chown(empty, "frr", "frr")
        pid = str(self.directory / f"{daemon}.pid")
        network.start(self.namespace, str(DAEMONS / daemon), "--log", "stdout", "-f", str(empty), "-i", pid, *options)
        eventually(lambda: (self.directory / f"{daemon}.vty").exists())

    def write(self, configuration: str) -> None:
        self.file.write_text(configuration)
        shutil.chown(self.file, "frr", "frr")
        self.file.chmod(0o600)

    def _vtysh(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        socket = ("--vty_socket", str(self.directory))
        argv = ("ip", "netns", "exec", self.namespace, "vtysh", *socket, *arguments)
        return subprocess.run(argv, capture_output=True, text=True, check=False)

    def ask(self, question: str) -> str:
        return self._vtysh("-c", question).stdout

    def load(self) -> tuple[int, str]:
        """The file fed to the running bgpd: exit code and what bgpd says to it."""
        done = self._vtysh("-f", str(self.file))
        return done.returncode, done.stdout

    def json(self, question: str) -> Any:
        return json.loads(self.ask(f"{question} json") or "{}")

    def reload(self, *options: str) -> str:
        """frr-reload.py on the file: `--test` says what it would do, `--reload` does it."""
        argv = ("ip", "netns", "exec", self.namespace, str(DAEMONS / "frr-reload.py"), *options, "--stdout")
        folders = ("--vty_socket", str(self.directory), "--confdir", str(self.directory))
        return command(*argv, *folders, str(self.file))


class Bird:
    """BIRD 2 with a configuration."""

    def __init__(self, network: Network, namespace: str, configuration: str) -> None:
        directory = network.new_directory("root")
        self._socket = str(directory / "bird.ctl")
        self._pid = directory / "pid"
        file = directory / "bird.conf"
        file.write_text(configuration)
        file.chmod(0o600)
        command("bird", "-p", "-c", str(file))
        network.start(namespace, "bird", "-f", "-c", str(file), "-s", self._socket, "-P", str(self._pid))
        eventually(self._answers)

    def _answers(self) -> bool:
        """The socket is there before BIRD listens on it."""
        argv = ("birdc", "-r", "-s", self._socket, "show", "status")
        return subprocess.run(argv, capture_output=True, check=False).returncode == 0

    def signal(self, number: int) -> None:
        os.kill(int(self._pid.read_text()), number)

    def ask(self, *question: str) -> str:
        return command("birdc", "-r", "-s", self._socket, *question)

    def route(self, prefix: str, table: str) -> str:
        """The route with all its attributes, or an empty string."""
        argv = ("birdc", "-r", "-s", self._socket, "show", "route", prefix, "all", "table", table)
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        return done.stdout if prefix in done.stdout else ""
