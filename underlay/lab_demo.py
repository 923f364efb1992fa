"""What `make lab` shows at its end: sessions, the way a packet takes, and, where the topology has a world outside, one
pod that it reaches by its own address, over both switches of its rack.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

from containerlab import namespaces, node_clients, probe
from containerlab.node_addresses import addresses_of
from containerlab.pods import pod_namespace
from ipam.cni_request import GATEWAYS
from peering.resources.observed import BGPNodeStatusSpec
from peering.store.open_store import open_store
from peering.store.resources import load
from underlay.fabric_lab import FabricLab
from underlay.inspecting import print_sessions
from underlay.lab_pods import LabPod, ensure_pods
from underlay.output import Refused, console

_PORT = 7007
_FLOWS, _RATE, _SECONDS = 64, 10, 1
_OUTSIDE_GROUP = "edge"
_HOP = re.compile(r"^\s*\d+\s+(\S+)\s+([\d.]+ ms)?")


async def run(fabric: FabricLab) -> None:
    """Traceroutes and flows. Raises Refused when something does not answer."""
    pods = await ensure_pods(fabric)
    outside = list(fabric.topology.in_group(_OUTSIDE_GROUP))
    if not pods:
        raise Refused(message=f"error: {fabric.topology.name} has no pods")
    first, last = pods[0], pods[-1]
    names = _names(fabric, pods)
    for version in (4, 6):
        await _traceroute(fabric, names, first.namespace, f"{first.node}/{first.name}", last.address(version))
    for node in outside[:1]:
        await _traceroute(fabric, names, fabric.lab.namespace(node.name), node.name, first.address(4))
        for version in (4, 6):
            await _flows(fabric, node.name, first, version)


async def show_sessions(fabric: FabricLab) -> None:
    """The session table of all nodes."""
    store = open_store(fabric.store_url)
    try:
        statuses = (await load(store, ("BGPNodeStatus",)))[0]
    finally:
        await store.close()
    print_sessions([cast(BGPNodeStatusSpec, status.spec) for status in statuses])


def execute(fabric: FabricLab, node: str, command: Sequence[str]) -> int:
    """Runs a command in NODE or NODE/POD on the caller's terminal; `vtysh`, `birdc`, ... talk to that node's.

    So they do in whatever the command runs: they are on its PATH.
    """
    name, _, pod = node.partition("/")
    if name not in fabric.topology.nodes:
        raise Refused(message=f"error: {name!r} is no node of the lab ({', '.join(fabric.topology.nodes)})")
    namespace = pod_namespace(fabric.lab, name, pod) if pod else fabric.lab.namespace(name)
    if not namespaces.exists(namespace):
        raise Refused(message=f"error: {node} is not there (is the lab up?)")
    env = {"PATH": os.environ.get("PATH", os.defpath), **fabric.topology.nodes[name].env}
    env["PATH"] = node_clients.search_path(fabric.lab.node_dir(name), env["PATH"])
    return namespaces.run_attached(namespace, command, env)


@asynccontextmanager
async def answering(namespace: str) -> AsyncIterator[None]:
    """A server in the namespace that answers the flows of `send_flows`."""
    argv = namespaces.inside(namespace, (sys.executable, "-I", probe.__file__, "serve", "--port", str(_PORT)))
    server = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE)
    try:
        assert server.stdout is not None
        await server.stdout.readline()  # "ready"
        yield
    finally:
        server.send_signal(signal.SIGTERM)
        await server.wait()


async def send_flows(namespace: str, to: str, flows: int, rate: float, seconds: float) -> dict[str, Any]:
    """The result of probe.py: sent, answered, worst gap in ms and the source addresses that the server saw."""
    argv = (sys.executable, "-I", probe.__file__, "flows", "--to", to, "--port", str(_PORT), "--json")
    done = await namespaces.run(
        namespace, (*argv, "--flows", str(flows), "--rate", str(rate), "--seconds", str(seconds))
    )
    if not done.ok:
        raise Refused(message=f"error: flows to {to}: {done.reason()}")
    return cast(dict[str, Any], json.loads(done.stdout))


async def received_by_uplink(fabric: FabricLab, node: str) -> dict[str, int]:
    """Switch -> packets that have come in from it on the node's link to it."""
    done = await namespaces.command(("ip", "-n", fabric.lab.namespace(node), "-s", "-j", "link", "show"))
    packets = {link["ifname"]: int(link["stats64"]["rx"]["packets"]) for link in json.loads(done.stdout)}
    ends = [(link.a, link.b) for link in fabric.topology.links] + [(link.b, link.a) for link in fabric.topology.links]
    return {far.node: packets[near.interface] for near, far in ends if near.node == node}


async def _flows(fabric: FabricLab, outside: str, pod: LabPod, version: int) -> None:
    before = await received_by_uplink(fabric, pod.node)
    async with answering(pod.namespace):
        result = await send_flows(fabric.lab.namespace(outside), pod.address(version), _FLOWS, _RATE, _SECONDS)
    after = await received_by_uplink(fabric, pod.node)
    answered, sent = result["answered"], result["sent"]
    came = {switch: after[switch] - before[switch] for switch in before}
    ways = " and ".join(f"{switch} ({count})" for switch, count in came.items() if count >= _FLOWS)
    sources = ", ".join(result["sources"])
    console.print(
        f"pod {pod.node}/{pod.name} {pod.address(version)} answered {answered} of {sent} packets in {_FLOWS} flows "
        f"from {outside} over {ways}; it saw the source {sources}",
        markup=False,
    )
    if answered < sent:
        raise Refused(message=f"error: {sent - answered} packets were lost")


async def _traceroute(fabric: FabricLab, names: dict[str, str], namespace: str, who: str, to: str) -> None:
    family = "-6" if ":" in to else "-4"
    done = await namespaces.run(namespace, ("traceroute", family, "-n", "-q", "1", "-w", "1", "-m", "10", to))
    console.print(f"traceroute from {who} to {names.get(to, '')} {to}", markup=False)
    for line in done.stdout.splitlines()[1:]:
        match = _HOP.match(line)
        if match:
            console.print(f"  {names.get(match[1], '?'):<14} {match[1]:<22} {match[2] or ''}".rstrip(), markup=False)
    if f" {to} " not in done.stdout.split("\n", 1)[-1]:
        raise Refused(message=f"error: {to} did not answer a traceroute from {who}")


def _names(fabric: FabricLab, pods: Sequence[LabPod]) -> dict[str, str]:
    """Address -> who has it, for reading traceroutes."""
    names = {address: f"{pod.node}/{pod.name}" for pod in pods for address in pod.addresses}
    names.update(dict.fromkeys(GATEWAYS.values(), "its node"))
    for node in fabric.topology.nodes.values():
        for addresses in addresses_of(node).values():
            names.update({address.split("/")[0]: node.name for address in addresses})
    return names
