"""Pods of the lab: namespaces that the reference CNI plugin `ptp` attaches to a node, as a runtime would.

The plugin runs inside the node's namespace, so that is where the pod's veth ends. IPAM is `static`: the addresses
are the caller's. There is no NAT: the pod is reached by its own address, by a host route on its node.

What ptp (plugins 1.1.1) does and does not do, found by running it:
- It wants a gateway. IPv6 takes fe80::1 with a /128: a link-local next hop needs no route to it.
- IPv4 with a /32 fails ("failed to delete route ... no such process"): ptp deletes the route to the address's
  subnet, which the kernel makes for a shorter prefix only. A /31 satisfies it; ptp then routes the pair through
  the gateway, so the neighbour is reached like everybody else.
- A default route by 169.254.1.1 fails ("network is unreachable"): ptp adds the routes of the IPAM result before
  the one to the gateway. The gateway can only be one that the pod's own subnet contains, and the blocks of this
  project have no address to spare for one. So IPv4's default route is the one thing added by hand.
- ADD that fails leaves its veth behind; DEL takes it away.
"""

from __future__ import annotations

import ipaddress
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from containerlab import namespaces
from containerlab.namespaces import CommandFailed, Completed
from containerlab.runner import Lab

GATEWAYS = {4: "169.254.1.1", 6: "fe80::1"}
"""The pod's next hop by IP version: link-local, the same on every pod's veth."""

INTERFACE = "eth0"
_PREFIX_LENGTHS = {4: 31, 6: 128}
_DEFAULT_CNI_PATHS = ("/usr/lib/cni", "/opt/cni/bin")
_NO_DAD = ("sysctl", "-qw", *(f"net.ipv6.conf.{where}.accept_dad=0" for where in ("all", "default")))


@dataclass(frozen=True, slots=True)
class Pod:
    """`addresses` without a prefix length; `host_interface` is the node's end of its veth."""

    node: str
    name: str
    namespace: str
    addresses: tuple[str, ...]
    host_interface: str


def cni_path() -> str:
    """The folders of CNI plugins: `CNI_PATH`, else where the distributions put them."""
    found = [path for path in _DEFAULT_CNI_PATHS if Path(path, "ptp").exists()]
    return os.environ.get("CNI_PATH") or ":".join(found or _DEFAULT_CNI_PATHS)


def network_config(addresses: Sequence[str], mtu: int) -> dict[str, Any]:
    """The CNI network configuration that attaches one pod; `mtu` in bytes."""
    parsed = [ipaddress.ip_address(address) for address in addresses]
    static = [{"address": f"{ip}/{_PREFIX_LENGTHS[ip.version]}", "gateway": GATEWAYS[ip.version]} for ip in parsed]
    routes = [{"dst": "::/0"}] if any(ip.version == 6 for ip in parsed) else []
    ipam = {"type": "static", "addresses": static, "routes": routes}
    return {"cniVersion": "0.4.0", "name": "lab", "type": "ptp", "ipMasq": False, "mtu": mtu, "ipam": ipam}


def pod_namespace(lab: Lab, node: str, pod: str) -> str:
    return f"{lab.namespace(node)}-{pod}"


async def add_pod(lab: Lab, node: str, pod: str, addresses: Sequence[str], mtu: int) -> Pod:
    """Attaches a pod; `mtu` in bytes, that of the node's uplinks. Raises CommandFailed with the plugin's words."""
    namespace = pod_namespace(lab, node, pod)
    await lab.own_namespace(node, namespace)
    await namespaces.ip_batch(["link set lo up"], namespace)
    # Addresses given out by an allocator are unique; waiting a second for DAD would be all of the start-up time.
    await namespaces.checked(namespaces.inside(namespace, _NO_DAD))
    done = await _plugin(lab, node, namespace, "ADD", network_config(addresses, mtu))
    if not done.ok:
        await del_pod(lab, node, pod)
        raise CommandFailed(done)
    if any(ipaddress.ip_address(address).version == 4 for address in addresses):
        await namespaces.ip_batch([f"route replace default via {GATEWAYS[4]} dev {INTERFACE}"], namespace)
    host_interface = json.loads(done.stdout)["interfaces"][0]["name"]
    return Pod(node, pod, namespace, tuple(addresses), host_interface)


async def del_pod(lab: Lab, node: str, pod: str) -> None:
    """Detaches a pod and kills what runs in it; nothing happens if it is gone already."""
    namespace = pod_namespace(lab, node, pod)
    if namespaces.exists(namespace):
        await namespaces.kill([namespace])
        await _plugin(lab, node, namespace, "DEL", network_config((), 0))
    await lab.disown_namespace(namespace)


async def _plugin(lab: Lab, node: str, namespace: str, verb: str, config: Mapping[str, Any]) -> Completed:
    """One call of the plugin inside the node, with CNI's message in place of its JSON if it fails."""
    path = cni_path()
    binary = next((found for folder in path.split(":") if (found := Path(folder, "ptp")).exists()), Path("ptp"))
    env = {
        "CNI_COMMAND": verb,
        "CNI_CONTAINERID": namespace,
        "CNI_NETNS": str(namespaces.NETNS_DIR / namespace),
        "CNI_IFNAME": INTERFACE,
        "CNI_PATH": path,
    }
    done = await namespaces.run(lab.namespace(node), (str(binary),), json.dumps(config), env)
    return done if done.ok else Completed(done.argv, done.code, "", _message(done))


def _message(done: Completed) -> str:
    try:
        return str(json.loads(done.stdout)["msg"])
    except (ValueError, KeyError, TypeError):
        return done.reason()
