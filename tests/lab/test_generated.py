"""Labs that `underlay lab generate` made, run: every session up at both ends, a packet through, nothing left behind."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from containerlab import daemons, namespaces
from peering.store.open_store import open_store
from tests.lab.running_lab import wait_until
from tests.unit.command_line import run_underlay
from tests.unit.samples import SAMPLES, nodes
from underlay.fabric_lab import FabricLab

_RUN_DIR = Path("/run/underlay-test")
_SETTLE = 90.0


@dataclass
class Running:
    """A lab that is up."""

    fabric: FabricLab

    def ask(self, node: str, *words: str) -> str:
        """What a daemon of the node says, by its own client."""
        folder = self.fabric.lab.node_dir(node)
        argv = (*daemons.clients(folder)[words[0]], *words[1:])
        return self.run(node, *argv)

    def run(self, node: str, *argv: str) -> str:
        inside = namespaces.inside(self.fabric.lab.namespace(node), argv)
        return subprocess.run(inside, capture_output=True, text=True, check=False).stdout

    def json(self, node: str, *words: str) -> Any:
        said = self.ask(node, *words)
        return json.loads(said) if said.startswith(("{", "[")) else {}

    def frr_sessions(self, node: str) -> dict[str, str]:
        """Neighbour -> state, of FRR."""
        shown = self.json(node, "vtysh", "-c", "show bgp neighbors json")
        return {peer: state["bgpState"] for peer, state in shown.items()}

    def answers(self, node: str, source: str, to: str) -> bool:
        return " 1 received" in self.run(node, "ping", "-c", "1", "-W", "1", "-I", source, to)

    def missing(self) -> tuple[str, ...]:
        async def check() -> tuple[str, ...]:
            store = open_store(self.fabric.store_url)
            try:
                return (await self.fabric.convergence(store)).missing
            finally:
                await store.close()

        return asyncio.run(check())

    def converge(self) -> None:
        deadline = time.monotonic() + _SETTLE
        while missing := self.missing():
            assert time.monotonic() < deadline, f"not converged: {missing}"
            time.sleep(0.1)


@contextmanager
def running(topology: str, short: str) -> Iterator[Running]:
    lab = Running(FabricLab(topology, name=f"{short}{os.getpid()}", run_dir=_RUN_DIR))
    try:
        asyncio.run(lab.fabric.up())
        lab.converge()
        yield lab
    finally:
        spaces = {lab.fabric.lab.namespace(node) for node in lab.fabric.topology.nodes}
        asyncio.run(lab.fabric.down())
        if _RUN_DIR.exists() and not any(_RUN_DIR.iterdir()):
            _RUN_DIR.rmdir()
    assert spaces & set(namespaces.names()) == set()
    assert not lab.fabric.lab.run_dir.exists()


def generated(out: Path, *declared: Path) -> str:
    """The topology file that the command writes."""
    options = [word for path in declared for word in ("-f", str(path))]
    done = run_underlay("lab", "generate", *options, "--out", str(out), "--name", "made")
    assert done.exit_code == 0, done.stderr
    return str(out / "made.clab.yml")


def written(folder: Path, documents: Sequence[Mapping[str, Any]]) -> Path:
    file = folder / "declared.yaml"
    file.write_text(yaml.safe_dump_all(documents))
    return file


def documents(sample: str) -> list[dict[str, Any]]:
    files = sorted((SAMPLES / sample).glob("*.yaml"))
    return [document for file in files for document in yaml.safe_load_all(file.read_text())]


def with_password(sample: str) -> list[dict[str, Any]]:
    found = documents(sample)
    for document in found:
        if document["kind"] == "Rack":
            document["spec"]["password"] = {"secretKeyRef": {"name": "bgp", "key": "rack"}}
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "bgp"},
        "stringData": {"rack": "s3cret-of-ours"},
    }
    return [*found, secret]


def test_a_small_declaration_runs_as_it_was_generated(tmp_path: Path) -> None:
    """Two ToRs that are each other's fabric peers, a spine and two nodes; the real password goes nowhere."""
    topology = generated(tmp_path / "out", written(tmp_path, with_password("rack-aggregate")))
    assert not [p for p in (tmp_path / "out").rglob("*") if p.is_file() and "s3cret-of-ours" in p.read_text()]
    with running(topology, "g") as lab:
        routers = ("spine-1", "edge", "tor-1a", "tor-1b")
        wait_until(
            "every session of the routers",
            lambda: all(set(lab.frr_sessions(name).values()) == {"Established"} for name in routers),
            _SETTLE,
        )
        # Of each family: a spine and the other ToR and two nodes; two ToRs and the edge; the spine.
        assert [len(lab.frr_sessions(name)) for name in routers] == [6, 2, 8, 8]
        wait_until("an answer", lambda: lab.answers("edge", "203.0.113.10", "10.0.11.2"), _SETTLE)
        wait_until("an answer", lambda: lab.answers("edge", "2001:db8:ffff::10", "fd00:0:11::1"), _SETTLE)
        # What is running is what was generated, but for the password, which is the placeholder in both.
        for switch in ("tor-1a", "tor-1b"):
            run = (lab.fabric.lab.node_dir(switch) / daemons.FRR_CONFIG).read_text()
            assert run == (tmp_path / "out/configs/made" / switch / "frr.conf").read_text()
            assert "password <secret:bgp/rack>" in run


DAEMONS = {"tor-1a": "bird", "tor-1b": "openbgpd", "tor-2a": "gobgp", "tor-2b": "frr"}


def established(lab: Running, switch: str) -> int:
    """Sessions that the switch's own daemon calls up."""
    counts: dict[str, Callable[[], int]] = {
        "bird": lambda: lab.ask(switch, "birdc", "show", "protocols").count(" Established"),
        "openbgpd": lambda: sum(
            n["state"] == "Established"
            for n in lab.json(switch, "bgpctl", "-j", "show", "neighbor").get("neighbors", ())
        ),
        "gobgp": lambda: sum(n["state"]["session_state"] == 6 for n in lab.json(switch, "gobgp", "-j", "neighbor")),
        "frr": lambda: list(lab.frr_sessions(switch).values()).count("Established"),
    }
    return counts[DAEMONS[switch]]()


def table(lab: Running, switch: str) -> str:
    """Its table, as its daemon prints it."""
    words = {
        "bird": ("birdc", "show", "route"),
        "openbgpd": ("bgpctl", "show", "rib"),
        "gobgp": ("gobgp", "global", "rib"),
        "frr": ("vtysh", "-c", "show bgp ipv4 unicast"),
    }
    return lab.ask(switch, *words[DAEMONS[switch]])


def test_switches_of_every_daemon_run_side_by_side(tmp_path: Path) -> None:
    """Sessions and routes of all of them; kernel routes only of BIRD and FRR, the others have no zebra and no table."""
    declared = [*documents("dual-tor"), *(node.to_document() for node in nodes())]
    for document in declared:
        if document["kind"] == "Switch":
            document["spec"]["platform"] = DAEMONS[document["metadata"]["name"]]
    with running(generated(tmp_path / "out", written(tmp_path, declared)), "m") as lab:
        wait_until(
            "all sessions", lambda: {name: established(lab, name) for name in DAEMONS} == dict.fromkeys(DAEMONS, 8)
        )
        there = ("0.0.0.0/0", "10.0.11.1/32", "10.0.12.2/32", "10.0.1.2/32", "10.0.2.1/32")
        for switch in DAEMONS:
            wait_until(f"routes on {switch}", lambda s=switch: all(p in table(lab, s) for p in there), _SETTLE)  # type: ignore[misc]
        # Only BIRD's way is left for rack-1 and only FRR's for rack-2.
        for node in ("node-1", "node-4"):
            down = "eth2" if node == "node-1" else "eth1"
            lab.run(node, "ip", "link", "set", down, "down")
        wait_until("an answer", lambda: lab.answers("node-1", "10.0.11.1", "10.0.12.2"), _SETTLE)
        for node in ("node-1", "node-4"):
            lab.run(node, "ip", "link", "set", "eth2" if node == "node-1" else "eth1", "up")
        lab.converge()
        another_pool(lab, tmp_path)


def another_pool(lab: Running, folder: Path) -> None:
    """What changes is read by the running daemons, each in its way, and no session goes down for it."""
    pids = {switch: lab.fabric.lab.init(switch).status()[-1].pid for switch in DAEMONS}
    read_before = {switch: times_read(lab, switch) for switch in READINGS}
    pool = {"apiVersion": "projectcalico.org/v3", "kind": "IPPool", "metadata": {"name": "more"}}
    file = written(folder, [{**pool, "spec": {"cidr": "10.245.0.0/16"}}])
    done = run_underlay("apply", "-f", str(file), "--store", lab.fabric.store_url)
    assert done.exit_code == 0, done.stderr
    asyncio.run(lab.fabric.up())
    wait_until("GoBGP's sets", lambda: "10.245.0.0/16" in lab.ask("tor-2a", "gobgp", "policy", "prefix"))
    assert "10.245.0.0/16" in lab.ask("tor-2b", "vtysh", "-c", "show running-config")
    wait_until("new readings", lambda: all(times_read(lab, s) > read_before[s] for s in READINGS))
    # GoBGP takes the new sets, and leaves out now and then what it had to tell anew for them (seen with 3.10).
    for neighbor in lab.json("tor-2a", "gobgp", "-j", "neighbor"):
        lab.ask("tor-2a", "gobgp", "neighbor", neighbor["conf"]["neighbor_address"], "softreset")
    lab.converge()
    assert {switch: lab.fabric.lab.init(switch).status()[-1].pid for switch in DAEMONS} == pids
    assert {switch: established(lab, switch) for switch in DAEMONS} == dict.fromkeys(DAEMONS, 8)


#: BIRD and OpenBGPD print no set of prefixes: that they read their file again is in their logs.
READINGS = {"tor-1a": ("bird", "Reconfigured"), "tor-1b": ("openbgpd", "RDE reconfigured")}


def times_read(lab: Running, switch: str) -> int:
    name, word = READINGS[switch]
    return (lab.fabric.lab.node_dir(switch) / "log" / f"{name}.log").read_text().count(word)


def test_nodes_that_share_a_subnet_hang_on_a_bridge(tmp_path: Path) -> None:
    with running(generated(tmp_path / "out", SAMPLES / "shared-subnet"), "b") as lab:
        wait_until("an answer", lambda: lab.answers("edge", "203.0.113.10", "10.0.11.2"), _SETTLE)
        ports = lab.run("tor-1a", "ip", "-o", "link", "show", "master", "br0")
        assert len(ports.splitlines()) == 2


def test_the_unnumbered_lab_that_is_shipped() -> None:
    """Its nodes run FRR: ExaBGP needs the address of its peer."""
    with running("unnumbered", "u") as lab:
        for router, count in (("tor-1a", 3), ("tor-1b", 3), ("node-1", 2), ("node-2", 2), ("spine-1", 4)):
            wait_until(
                f"the sessions of {router}",
                lambda r=router, c=count: list(lab.frr_sessions(r).values()) == ["Established"] * c,  # type: ignore[misc]
                _SETTLE,
            )
        wait_until("an answer", lambda: lab.answers("node-1", "10.0.11.1", "10.0.11.2"), _SETTLE)
        wait_until("an answer", lambda: lab.answers("node-2", "10.0.11.2", "203.0.113.10"), _SETTLE)
        default = json.loads(lab.run("node-1", "ip", "-j", "route", "show", "default"))
        assert sorted(hop["dev"] for hop in default[0]["nexthops"]) == ["eth1", "eth2"]
