"""Real processes on a stand-in, and the rights that config/rbac gives their accounts."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import yaml

from tests.kube_api.cluster import NAMESPACE, Cluster

ROOT = Path(__file__).parents[2]
#: A controller with a Lease of two seconds that looks again at once; nothing else of it is another.
_HURRIED = """
from peering.store.kubernetes import store
from underlay import controller
from underlay.cli import main
store._LEADER_S, store._LEADER_RENEWED_S, controller._COLLECT_PAUSE_S = 2.0, 0.4, 0.1
main()
"""


@asynccontextmanager
async def started(cluster: Cluster, folder: Path, name: str, *arguments: str) -> AsyncIterator[Process]:
    """`underlay ARGUMENTS` on the cluster; what it says is in FOLDER/NAME.log. Killed at the end."""
    kubeconfig = cluster.server.kubeconfig(folder / "kubeconfig-of-processes", namespace=NAMESPACE)
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig), "PYTHONPATH": str(ROOT)}
    environment.pop("KUBERNETES_SERVICE_HOST", None)
    with (folder / f"{name}.log").open("w") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _HURRIED, *arguments, env=environment, stdout=log, stderr=log
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGKILL)
            await process.wait()


def leader(cluster: Cluster) -> int:
    """The process that holds the controllers' Lease; 0 while none does."""
    try:
        lease = cluster.server.kept("leases", "underlay-controller", "coordination.k8s.io", NAMESPACE)
    except KeyError:
        return 0
    holder = str(lease["spec"]["holderIdentity"])
    return int(holder.rsplit("-", 2)[1]) if holder else 0


def rights_of(account: str) -> set[tuple[str, str, str]]:
    """What config/rbac lets the account do: verb, group, resource."""
    paths = [path for path in (ROOT / "config" / "rbac").glob("*.yaml") if path.name != "kustomization.yaml"]
    documents = [one for path in paths for one in yaml.safe_load_all(path.read_text())]
    bound = {
        (one["roleRef"]["kind"], one["roleRef"]["name"])
        for one in documents
        if one["kind"].endswith("Binding") and any(subject["name"] == account for subject in one["subjects"])
    }
    rules = [rule for one in documents if (one["kind"], one["metadata"]["name"]) in bound for rule in one["rules"]]
    return {
        (verb, group, resource)
        for rule in rules
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
