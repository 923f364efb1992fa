"""What all clients of the reflector are to the tests, whichever daemon they are."""

from __future__ import annotations

import signal
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.interop.reflector_lab import AS, PASSWORD, Host, Lab, Process, eventually

IPV4, IPV6 = "ipv4-unicast", "ipv6-unicast"


@dataclass(frozen=True, order=True)
class Path:
    """A route as a daemon shows that it learned it. `originator` and `clusters` are of RFC 4456."""

    prefix: str
    next_hop: str
    originator: str = ""
    clusters: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a client is configured. `families` are by the IP version of the session that carries them.

    `restart_time` 0: no graceful restart. With `add_path` several paths are received, with `send_paths` sent too.
    `extended_next_hop`: IPv4 routes over IPv6 next hops (RFC 8950). `local_asn` is the daemon's own.
    """

    families: Mapping[int, tuple[str, ...]] = field(default_factory=lambda: {4: (IPV4,), 6: (IPV6,)})
    local_asn: int = AS
    hold_time: int = 9
    password: str = PASSWORD
    restart_time: int = 0
    add_path: bool = False
    send_paths: bool = False
    extended_next_hop: bool = False
    extended_messages: bool = False


DEFAULT = Options()


class Client(ABC):
    """A daemon on a host, with sessions to the reflector's addresses. Its router ID is the host's IPv4 address."""

    #: What the daemon is called; its own name, unless there are two of a kind.
    kind: str

    def __init__(self, lab: Lab, number: int, reflector: Host, options: Options = DEFAULT, name: str = "") -> None:
        self.name = name or self.kind
        self.host = lab.host(self.name, number)
        self.lab = lab
        self.reflector = reflector
        self.options = options
        self.process = Process(lab, self.host, f"{self.kind}.log")
        self.announced: list[str] = []

    # What each daemon does in its own way.

    @abstractmethod
    def launch(self, *, recovering: bool = False) -> None:
        """Writes the configuration and starts the daemon; `recovering`: with graceful restart, after a crash."""

    @abstractmethod
    def is_established(self, version: int) -> bool:
        """Whether the session over this IP version is up."""

    @abstractmethod
    def paths(self, family: str) -> set[Path]:
        """What it learned from the reflector, all paths."""

    @abstractmethod
    def announce(self, *prefixes: str) -> None:
        """From now on these too, at run time, with the host's own address of the family as next hop."""

    @abstractmethod
    def withdraw(self, *prefixes: str) -> None:
        """And these no more."""

    def count(self, family: str) -> int:
        """How many routes of a family it has from the reflector."""
        return len(self.paths(family))

    def announce_second(self, prefix: str, next_hop: str) -> None:
        """Another path to an IPv4 prefix that it announces, where it has `send_paths`."""
        raise NotImplementedError

    def withdraw_second(self, prefix: str, next_hop: str) -> None:
        """And no more."""
        raise NotImplementedError

    @abstractmethod
    def refresh(self, version: int) -> None:
        """Sends ROUTE-REFRESH."""

    # What is the same for all.

    def start(self, *, recovering: bool = False) -> None:
        """Returns when every session is up."""
        self.launch(recovering=recovering)
        self.await_established()

    def stop(self) -> None:
        """The clean end: with a NOTIFICATION, if the daemon is one that says good-bye."""
        self.process.terminate()

    def kill(self) -> None:
        self.process.kill()

    def pause(self) -> None:
        """It is there and does nothing, as a daemon that hangs."""
        self.process.signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.signal_all(signal.SIGCONT)

    def is_up(self) -> bool:
        return all(self.is_established(version) for version in self.options.families)

    def await_established(self) -> None:
        eventually(self.is_up, why=self.diagnosis)

    def prefixes(self, family: str) -> set[str]:
        return {path.prefix for path in self.paths(family)}

    def version_of(self, family: str) -> int:
        """Of the session that carries the family."""
        return next(version for version, families in self.options.families.items() if family in families)

    def diagnosis(self) -> str:
        """What an error says of it."""
        return f"{self.name}: {self.process.said()[-1500:]}"

    def next_hop(self, prefix: str) -> str:
        """Its own address, for a prefix that it announces."""
        return self.host.ipv6 if ":" in prefix or self.options.extended_next_hop else self.host.ipv4


def family_of(prefix: str) -> str:
    return IPV6 if ":" in prefix else IPV4


def by_version(prefixes: tuple[str, ...] | list[str]) -> dict[int, list[str]]:
    """IPv4's and IPv6's apart."""
    return {4: [p for p in prefixes if ":" not in p], 6: [p for p in prefixes if ":" in p]}
