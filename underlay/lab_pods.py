"""The demo pods of a lab, made as on any node: by the list of CNI plugins that the node's agent has written."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from containerlab.cni_runtime import CniFailed, NoConflist
from containerlab.namespaces import CommandFailed
from containerlab.pods import Pod, add_pod, del_pod, running_pod
from containerlab.topology import Node
from underlay.fabric_lab import FabricLab
from underlay.output import Refused

_PODS_LABEL = "underlay/pods"
_PATIENCE_S = 60.0
_PAUSE_S = 0.25


@dataclass(frozen=True, slots=True)
class LabPod:
    """A pod of the lab; `addresses` without their lengths, IPv4 first."""

    name: str
    node: str
    namespace: str
    addresses: tuple[str, ...]

    def address(self, version: int) -> str:
        """Its address of IP version 4 or 6."""
        return next(a for a in self.addresses if (":" in a) is (version == 6))


async def ensure_pods(fabric: FabricLab, patience: float = _PATIENCE_S) -> list[LabPod]:
    """The pods that the topology's labels ask for; those that run stay as they are.

    A new lab's nodes take pods once they have routes, one that has just been started once its agent listens:
    `patience` is how many seconds all of that may take. Raises Refused with every pod that could not be made.
    """
    wanted = [(node.name, f"pod-{n}") for node in fabric.nodes() for n in range(1, _count(node) + 1)]
    deadline = time.monotonic() + patience
    done = await asyncio.gather(*(_ensure(fabric, node, pod, deadline) for node, pod in wanted), return_exceptions=True)
    failed = [(where, error) for where, error in zip(wanted, done, strict=True) if isinstance(error, BaseException)]
    for _, error in failed:
        if not isinstance(error, (CniFailed, NoConflist, CommandFailed)):
            raise error
    if failed:
        raise Refused(message="\n".join(_line(fabric, node, pod, error) for (node, pod), error in failed))
    return [LabPod(pod.name, pod.node, pod.namespace, pod.addresses) for pod in done if isinstance(pod, Pod)]


async def _ensure(fabric: FabricLab, node: str, pod: str, deadline: float) -> Pod:
    """As a kubelet does it: while there is no list, or the agent says that it may work later, again and again."""
    lab, runtime = fabric.lab, fabric.cni(node).runtime()
    if (running := await running_pod(lab, node, pod, runtime)) is not None:
        return running
    while True:
        try:
            runtime.conflist()
            await del_pod(lab, node, pod, runtime)  # what a runner that was killed has left
            return await add_pod(lab, node, pod, runtime)
        except (CniFailed, NoConflist) as error:
            final = isinstance(error, CniFailed) and not error.try_again
            if final or time.monotonic() > deadline:
                raise
        await asyncio.sleep(_PAUSE_S)


def _line(fabric: FabricLab, node: str, pod: str, error: BaseException) -> str:
    if isinstance(error, NoConflist):
        log = fabric.lab.init(node).logs / "speaker.log"
        return f"error: {node}/{pod}: the node's agent does not say that pods may come ({error}); see {log}"
    return "\n".join([f"error: {node}/{pod}: {error}", *(f"  {note}" for note in getattr(error, "__notes__", ()))])


def _count(node: Node) -> int:
    text = node.labels.get(_PODS_LABEL, "0")
    return int(text) if text.isdigit() else 0
