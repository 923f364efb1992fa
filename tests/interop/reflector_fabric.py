"""The reflector with one client of each kind, all at once, and what has to be true of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Self

from tests.interop.reflector_bird import Bird
from tests.interop.reflector_client import DEFAULT, IPV4, IPV6, Client, Options, Path, family_of
from tests.interop.reflector_exabgp import ExaBgp
from tests.interop.reflector_frr import Frr
from tests.interop.reflector_gobgp import GoBgp
from tests.interop.reflector_lab import PASSWORD, Lab, eventually
from tests.interop.reflector_openbgpd import OpenBgpd
from tests.interop.reflector_process import reflector

KINDS: tuple[type[Client], ...] = (Frr, Bird, GoBgp, OpenBgpd, ExaBgp)
NAMES = tuple(kind.kind for kind in KINDS)


class Fabric:
    """A context: all clients are up inside, each with one prefix of each of its families."""

    def __init__(
        self,
        options: Options = DEFAULT,
        kinds: Iterable[type[Client]] | Mapping[str, type[Client]] = KINDS,
        of: dict[str, Options] | None = None,
        agree: bool = True,
        reflector_options: tuple[str, ...] = (),
    ) -> None:
        """`kinds` may be by name; `of` is what differs by name; without `agree` nothing is waited for but sessions."""
        self._reflector_options = reflector_options
        self._stack = ExitStack()
        self.lab = self._stack.enter_context(Lab())
        self.reflector = reflector(self.lab)
        self._agree = agree
        self.clients: dict[str, Client] = {}
        named = kinds if isinstance(kinds, Mapping) else {kind.kind: kind for kind in kinds}
        for number, (name, kind) in enumerate(named.items(), 11):
            self.add(kind, number, (of or {}).get(name, options), name)

    def add(self, kind: type[Client], number: int, options: Options, name: str = "") -> Client:
        client = kind(self.lab, number, self.reflector.host, options, name)
        client.announced = [p for p in own(number) if family_of(p) in _families(options)]
        self.clients[client.name] = client
        return client

    def __enter__(self) -> Self:
        try:
            self.start_reflector()
            for client in self.clients.values():
                client.launch()
            for client in self.clients.values():
                client.await_established()
            if self._agree:
                self.await_agreement()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: Any) -> None:
        self._stack.close()

    def start_reflector(self) -> None:
        self.reflector.start(PASSWORD, *self._reflector_options)

    def others(self, *clients: Client) -> list[Client]:
        return [client for client in self.clients.values() if client not in clients]

    def restart(self, client: Client, **changes: Any) -> None:
        """With other options from now on."""
        client.stop()
        client.options = replace(client.options, **changes)
        client.start()

    def due(self, client: Client, family: str) -> set[Path]:
        """What a client has to have learned: everything that the others announce, each from its originator."""
        cluster = (self.reflector.host.ipv4,)
        return {
            Path(prefix, other.next_hop(prefix), other.host.ipv4, cluster)
            for other in self.others(client)
            if other.process.running and family in _families(client.options)
            for prefix in other.announced
            if family_of(prefix) == family
        }

    def agrees(self) -> bool:
        """Whether everybody is up and has exactly what is due."""
        return all(
            client.is_up() and all(client.paths(f) == self.due(client, f) for f in _families(client.options))
            for client in self.clients.values()
        )

    def await_agreement(self) -> None:
        """Waits until everybody that runs has exactly what is due."""
        for client in self.clients.values():
            for family in (IPV4, IPV6):
                self._await_paths(client, family)

    def _await_paths(self, client: Client, family: str) -> None:
        if not client.process.running or family not in _families(client.options):
            return
        due = self.due(client, family)

        def difference() -> str:
            found = client.paths(family)
            return f"{client.name} {family}: missing {sorted(due - found)[:5]}, too much {sorted(found - due)[:5]}"

        eventually(lambda: client.paths(family) == due, why=difference)

    def connections(self, *clients: Client) -> list[set[tuple[str, str]]]:
        """What stays the same as long as no session of theirs goes down."""
        return [client.host.connections() for client in clients]


def own(number: int) -> list[str]:
    """The prefixes of the client with this number, without doubled zeros to be written as everybody does."""
    return [f"10.{number}.0.0/24", f"fd{number}::/48"]


def _families(options: Options) -> set[str]:
    return {family for families in options.families.values() for family in families}
