"""What the tests of the ExaBGP driver need: a peer (bgpd of FRR) and an agent that records what it hears."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bgp_speaker.exabgp_config import compile_config
from bgp_speaker.exabgp_driver import Connected, ExaBGP
from bgp_speaker.exabgp_events import PeerState
from peering.session import SecretKeyRef, Session, SpeakerPlan

PEER, PEER_2 = "10.201.0.2", "10.201.1.2"


def run(*command: str, check: bool = True) -> str:
    return subprocess.run(command, check=check, capture_output=True, text=True).stdout


class Peer:
    """A bgpd without zebra in its own namespace; `ours` is the namespace for ExaBGP."""

    def __init__(self, directory: Path) -> None:
        tag = f"{os.getpid() % 100000}{secrets.token_hex(2)}"
        self.ours, self.theirs = f"xa{tag}", f"xb{tag}"
        self.directory = directory
        self._bgpd: subprocess.Popen[bytes] | None = None

    def set_up(self) -> None:
        run("ip", "netns", "add", self.ours)
        run("ip", "netns", "add", self.theirs)
        run("ip", "link", "add", "e0", "netns", self.ours, "type", "veth", "peer", "e0", "netns", self.theirs)
        for namespace, host in ((self.ours, 1), (self.theirs, 2)):
            for subnet in (0, 1):
                run("ip", "-n", namespace, "addr", "add", f"10.201.{subnet}.{host}/24", "dev", "e0")
            run("ip", "-n", namespace, "addr", "add", f"fd99::{host}/64", "dev", "e0", "nodad")
            run("ip", "-n", namespace, "link", "set", "lo", "up")
            run("ip", "-n", namespace, "link", "set", "e0", "up")

    def start(self, extra: str = "", networks: tuple[str, ...] = ("192.0.2.0/24",), password: str = "") -> None:
        config = self.directory / "bgpd.conf"
        config.touch(mode=0o600)
        config.write_text(self._config(extra, networks, password))
        command = ("ip", "netns", "exec", self.theirs, "/usr/lib/frr/bgpd", "-Z", "-n", "-S", "-f", str(config))
        paths = ("-i", f"{self.directory}/bgpd.pid", "--vty_socket", str(self.directory), "-P", "0")
        self._bgpd = subprocess.Popen(
            [*command, *paths], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 20
        while not (self.directory / "bgpd.vty").exists() or "DFLT" not in self.ask_text("show bgp vrfs"):
            assert time.monotonic() < deadline, "bgpd does not come up"
            time.sleep(0.05)

    def _config(self, extra: str, networks: tuple[str, ...], password: str) -> str:
        lines = ["log stdout errors", "router bgp 65001", " bgp router-id 10.201.0.2"]
        lines += [" no bgp ebgp-requires-policy", " no bgp network import-check", " bgp graceful-restart"]
        lines += [" timers bgp 3 9"]
        for ours in ("10.201.0.1", "10.201.1.1"):
            lines += [f" neighbor {ours} remote-as 65100", f" neighbor {ours} passive"]
            lines += [f" neighbor {ours} password {password}"] if password else []
        lines += [" address-family ipv4 unicast", *(f"  network {n}" for n in networks), " exit-address-family"]
        lines += [" address-family ipv6 unicast", "  network 2001:db8:5::/48"]
        lines += ["  neighbor 10.201.0.1 activate", " exit-address-family", extra]
        return "\n".join(lines) + "\n"

    def stop(self) -> None:
        if self._bgpd is not None:
            self._bgpd.kill()
            self._bgpd.wait()
            self._bgpd = None
        (self.directory / "bgpd.vty").unlink(missing_ok=True)

    def tear_down(self) -> None:
        self.stop()
        for pid in run("ip", "netns", "pids", self.ours, check=False).split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        for namespace in (self.ours, self.theirs):
            run("ip", "netns", "del", namespace, check=False)

    def ask_text(self, *commands: str) -> str:
        words = [word for command in commands for word in ("-c", command)]
        return run("vtysh", "--vty_socket", str(self.directory), "-d", "bgpd", *words, check=False)

    def ask(self, command: str) -> dict[str, Any]:
        found = json.loads(self.ask_text(command) or "{}")
        assert isinstance(found, dict)
        return found

    def counter(self, name: str) -> int:
        """A counter of the TCP stack in the peer's namespace (/proc/net/netstat)."""
        lines = run("ip", "netns", "exec", self.theirs, "cat", "/proc/net/netstat").splitlines()
        names, values = (line.split() for line in lines[:2])
        return int(dict(zip(names, values, strict=True))[name])

    def routes(self) -> set[str]:
        """Prefixes from AS 65100 that are not stale."""
        table = self.ask("show bgp ipv4 unicast json").get("routes", {})
        ours = [(p, path) for p, paths in table.items() for path in paths if path["path"] == "65100"]
        return {p for p, path in ours if not path.get("stale")}

    def all_routes(self) -> set[str]:
        """The same, stale ones included."""
        table = self.ask("show bgp ipv4 unicast json").get("routes", {})
        return {p for p, paths in table.items() for path in paths if path["path"] == "65100"}

    def established(self, neighbor: str = "10.201.0.1") -> int:
        """How often the session has come up."""
        found = self.ask(f"show bgp neighbors {neighbor} json")[neighbor]
        return int(found["connectionsEstablished"])

    def is_up(self, neighbor: str = "10.201.0.1") -> bool:
        return bool(self.ask(f"show bgp neighbors {neighbor} json")[neighbor]["bgpState"] == "Established")


class Agent:
    """What an agent is to the driver: it records the events and waits for them."""

    def __init__(self, peer: Peer, **options: Any) -> None:
        self.events: list[Any] = []
        self.times: list[float] = []
        self.logged: list[str] = []
        self._news = asyncio.Event()
        self.peer = peer
        prefix = ("ip", "netns", "exec", peer.ours)
        self.exa = ExaBGP(
            peer.directory / "exabgp", on_event=self._on_event, log=self.logged.append, prefix=prefix, **options
        )

    def _on_event(self, event: Any) -> None:
        self.events.append(event)
        self.times.append(time.monotonic())
        self._news.set()

    def forget(self) -> None:
        """Starts to record anew."""
        self.events.clear()
        self.times.clear()

    def config(self, sessions: list[Session], passwords: dict[SecretKeyRef, str] | None = None) -> str:
        plan = SpeakerPlan(asn=65100, router_id="10.201.0.1", sessions=tuple(sessions))
        rendered = compile_config(
            plan,
            socket_path=str(self.exa.socket_path),
            shim_command=self.exa.shim_command,
            passwords=passwords or {},
        )
        return rendered.text

    async def until(self, what: Callable[[Any], bool], within: float = 15.0) -> Any:
        async with asyncio.timeout(within):
            while not (found := [e for e in self.events if what(e)]):
                self._news.clear()
                await self._news.wait()
        return found[0]

    async def until_up(self, address: str = PEER) -> None:
        def tells(event: Any) -> bool:
            if isinstance(event, Connected):
                return any(n.peer == address and n.up for n in event.neighbors)
            return isinstance(event, PeerState) and (event.peer, event.state) == (address, "up")

        await self.until(tells)


async def eventually(what: Callable[[], bool], within: float = 15.0) -> None:
    """Waits for something that only asking can tell."""
    deadline = time.monotonic() + within
    while not await asyncio.to_thread(what):
        assert time.monotonic() < deadline, "it did not come about"
        await asyncio.sleep(0.05)


def session(number: int = 0, **changes: Any) -> Session:
    made = Session(
        name=f"tor-{number}",
        peer=f"switch/tor-{number}",
        source="Rack/r1",
        type="ebgp",
        local_address=f"10.201.{number}.1",
        local_asn=65100,
        peer_address=f"10.201.{number}.2",
        peer_asn=65001,
        hold_time=9,
        families=("ipv4-unicast", "ipv6-unicast"),
    )
    return dataclasses.replace(made, **changes)
