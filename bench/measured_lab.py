"""The lab that is measured: dual-tor with a name of its own, a spare pool, and 10,000 routes in store at the edge.

It differs from the shipped sample in what the declaration allows, not in how anything is done:

- a pool that is `disabled`: the switches accept its blocks, no speaker claims one by itself, so the benchmark can
  claim when it is ready to measure;
- rack-1 takes everything its ToRs have (`downward: all`) and its nodes accept the prefixes of the edge's routes
  (`acceptPrefixes`);
- the edge has those routes in a protocol that is off until it is enabled.

Forty routes share one set of attributes, as the blocks of a rack with forty nodes do: 250 UPDATEs at least.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bgp_speaker.kernel_routes import PROTOCOL
from containerlab import daemons
from peering.prefixes import Prefix, format_prefix, pack_prefix
from tests.lab.running_lab import RunningLab
from underlay.fabric_lab import FabricLab

TOPOLOGY, SAMPLE = "dual-tor", Path(__file__).parents[1] / "config" / "samples" / "dual-tor"
NODE, RACK, TORS = "node-1", "rack-1", ("tor-1a", "tor-1b")
POOL = {
    "apiVersion": "projectcalico.org/v3",
    "kind": "IPPool",
    "metadata": {"name": "spare"},
    "spec": {"cidr": "10.245.0.0/16", "blockSize": 26, "disabled": True},
}
FAR_NETWORK = "100.64.0.0/10"
_FAR_LENGTH, _SHARED_ATTRIBUTES = 26, 40
_PROTOCOL_NAME = "many"
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """Resident and proportional memory in MiB."""

    rss: float
    pss: float


class MeasuredLab(RunningLab):
    """The running lab with what only a benchmark asks of it."""

    def __init__(self, name: str, run_dir: Path, declaration: Path, routes: int) -> None:
        super().__init__(TOPOLOGY, name, run_dir)
        self.fabric = FabricLab(TOPOLOGY, name=name, files=[declaration], run_dir=run_dir)
        self._far = far_prefixes(routes)

    @property
    def edge(self) -> Path:
        return self.fabric.lab.node_dir("edge")

    def put_routes_in_store(self) -> None:
        """Teaches the edge the far routes, not announced yet."""
        config = self.edge / daemons.BIRD_CONFIG
        with config.open("a", encoding="utf-8") as file:
            file.write(bird_protocol(self._far))
        self._birdc("configure")

    def announce_far_routes(self, on: bool) -> None:
        self._birdc("enable" if on else "disable", _PROTOCOL_NAME)

    def _birdc(self, *words: str) -> None:
        subprocess.run([*daemons.birdc(self.edge), *words], check=True, capture_output=True, timeout=30)

    def far_routes_at(self, node: str) -> tuple[int, int]:
        """How many of the far routes the node's kernel has from its speaker, and how many with two next hops."""
        groups = {
            n["id"]: len(n.get("group", "1")) for n in self.ip_json(node, "nexthop", "show", "proto", str(PROTOCOL))
        }
        routes = self.ip_json(node, "-4", "route", "show", "proto", str(PROTOCOL), "root", FAR_NETWORK)
        return len(routes), sum(groups.get(route.get("nhid")) == 2 for route in routes)

    def speaker_pids(self, node: str) -> dict[str, int]:
        """Agent, ExaBGP and shim of a node, by name."""
        (shim,) = self.pids(node, "exabgp_shim.py", "--orphan-timeout")
        return {"agent": self.agent_pid(node), "exabgp": self.exabgp_pid(node), "shim": shim}

    def frr_pids(self, switch: str) -> dict[str, int]:
        init = self.fabric.lab.node_dir(switch) / "init"
        return {name: int((init / f"{name}.pid").read_text()) for name in ("bgpd", "zebra")}


def declaration(folder: Path) -> Path:
    """Writes the sample's manifests, changed as said above."""
    for file in sorted(SAMPLE.glob("*.yaml")):
        documents = [_changed(document) for document in yaml.safe_load_all(file.read_text(encoding="utf-8"))]
        (folder / file.name).write_text(yaml.safe_dump_all(documents), encoding="utf-8")
    (folder / "spare-pool.yaml").write_text(yaml.safe_dump(POOL), encoding="utf-8")
    return folder


def _changed(document: dict[str, Any]) -> dict[str, Any]:
    if (document["kind"], document["metadata"]["name"]) == ("Rack", RACK):
        document["spec"] |= {"downward": "all", "acceptPrefixes": [FAR_NETWORK]}
    return document


def far_prefixes(count: int) -> list[Prefix]:
    """`count` different /26 of the far network. Raises ValueError when there are not so many."""
    network = pack_prefix(FAR_NETWORK)
    first, step = int.from_bytes(network[1:]), 1 << (32 - _FAR_LENGTH)
    if not 1 <= count <= 1 << (_FAR_LENGTH - network[0]):
        raise ValueError(f"{count} /{_FAR_LENGTH} do not fit into {FAR_NETWORK}")
    return [bytes((_FAR_LENGTH,)) + (first + step * n).to_bytes(4) for n in range(count)]


def bird_protocol(prefixes: list[Prefix]) -> str:
    """BIRD's static protocol with these routes, off. The community tells one rack's from the next one's."""
    return "\n".join(_bird_lines(prefixes)) + "\n"


def _bird_lines(prefixes: list[Prefix]) -> Iterator[str]:
    yield f"protocol static {_PROTOCOL_NAME} {{ disabled; ipv4;"
    for number, prefix in enumerate(prefixes):
        community = f"bgp_community.add((65500, {number // _SHARED_ATTRIBUTES % 65536}));"
        yield f"  route {format_prefix(prefix)} unreachable {{ {community} }};"
    yield "}"


def memory(pid: int) -> Usage:
    """From the kernel's own sum over the mappings."""
    lines = (line.split() for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    kib = {words[0]: int(words[1]) for words in lines}
    return Usage(kib["Rss:"] / 1024, kib["Pss:"] / 1024)


def cpu_seconds(pid: int) -> float:
    """User and system time since the process began, in steps of a clock tick (10 ms)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


class CpuClock:
    """How much CPU time processes have used since it was made; by name."""

    def __init__(self, pids: dict[str, int]) -> None:
        self._pids = pids
        self._began = time.monotonic()
        self._before = {name: cpu_seconds(pid) for name, pid in pids.items()}

    def used(self) -> dict[str, float]:
        """Seconds of CPU time."""
        return {name: cpu_seconds(pid) - self._before[name] for name, pid in self._pids.items()}

    def elapsed(self) -> float:
        return time.monotonic() - self._began
