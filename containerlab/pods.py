"""Pods of the lab: namespaces that a node's CNI plugins attach to it, as a container runtime has them do it.

Which plugins those are says the list that the node's agent writes; see cni_runtime.py. A pod that is added again after
it has failed, or after the runner was killed on the way, is made anew; one that runs is left alone.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from containerlab import namespaces
from containerlab.cni_runtime import ANNOTATIONS, Attachment, CniFailed, NoConflist, Runtime, addresses
from containerlab.runner import Lab

_KUBERNETES_NAMESPACE = "default"
_REFERENCE_PLUGINS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))
_NO_DAD = ("sysctl", "-qw", *(f"net.ipv6.conf.{where}.accept_dad=0" for where in ("all", "default")))


@dataclass(frozen=True, slots=True)
class Pod:
    """`addresses` without their lengths, IPv4 first; `host_interface` is the node's end of its veth."""

    node: str
    name: str
    namespace: str
    addresses: tuple[str, ...]
    host_interface: str


def reference_plugins() -> tuple[Path, ...]:
    """The folders of CNI's own plugins: `CNI_PATH`, else where the distributions put them."""
    told = tuple(Path(folder) for folder in os.environ.get("CNI_PATH", "").split(":") if folder)
    found = tuple(folder for folder in _REFERENCE_PLUGINS if (folder / "ptp").exists())
    return told or found or _REFERENCE_PLUGINS


def pod_namespace(lab: Lab, node: str, pod: str) -> str:
    return f"{lab.namespace(node)}-{pod}"


def attachment(lab: Lab, node: str, pod: str, annotations: Mapping[str, str] | None = None) -> Attachment:
    """What a runtime knows of a pod. Its container has the name of its namespace, so that people know it again."""
    namespace = pod_namespace(lab, node, pod)
    args = {"IgnoreUnknown": "1", "K8S_POD_NAMESPACE": _KUBERNETES_NAMESPACE, "K8S_POD_NAME": f"{node}-{pod}"}
    capabilities = {ANNOTATIONS: dict(annotations)} if annotations else {}
    return Attachment(namespace, str(namespaces.NETNS_DIR / namespace), args=args, capabilities=capabilities)


async def add_pod(lab: Lab, node: str, pod: str, runtime: Runtime, annotations: Mapping[str, str] | None = None) -> Pod:
    """A pod by the node's list of plugins. Raises CniFailed with the plugin's words, and NoConflist."""
    namespace = pod_namespace(lab, node, pod)
    await lab.own_namespace(node, namespace)
    await namespaces.ip_batch(["link set lo up"], namespace)
    # Addresses given out by an allocator are unique; waiting a second for DAD would be all of the start-up time.
    await namespaces.checked(namespaces.inside(namespace, _NO_DAD))
    try:
        result = await runtime.add(attachment(lab, node, pod, annotations))
    except (CniFailed, NoConflist):
        await lab.disown_namespace(namespace)
        raise
    return _pod(node, pod, namespace, result)


async def running_pod(lab: Lab, node: str, pod: str, runtime: Runtime) -> Pod | None:
    """The pod, if it is there with its interface."""
    namespace = pod_namespace(lab, node, pod)
    wanted = attachment(lab, node, pod)
    kept = runtime.kept(wanted)
    if kept is None or kept.result is None or not namespaces.exists(namespace):
        return None
    there = wanted.interface in await namespaces.links(namespace)
    return _pod(node, pod, namespace, kept.result) if there else None


async def del_pod(lab: Lab, node: str, pod: str, runtime: Runtime) -> None:
    """Kills what runs in a pod and detaches it; nothing happens if it is gone already. Raises CniFailed."""
    namespace, gone = pod_namespace(lab, node, pod), attachment(lab, node, pod)
    if not namespaces.exists(namespace) and runtime.kept(gone) is None:
        return
    await namespaces.kill([namespace])
    await runtime.delete(gone)
    await lab.disown_namespace(namespace)


def _pod(node: str, name: str, namespace: str, result: Mapping[str, Any]) -> Pod:
    host = next((one["name"] for one in result.get("interfaces", ()) if not one.get("sandbox")), "")
    return Pod(node, name, namespace, addresses(result), host)
