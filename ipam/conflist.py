"""What the runtime is told: a list of plugins in its folder, and the plugin itself among the others.

The list is the node's word that pods may come: kubelet calls the node NotReady as long as there is none. So it is
written only once the node is ready, whole or not at all, and it stays when the node is not ready for a while: that
is what STATUS is for, and running pods need their DELs.

Who gives the addresses, by the IPPools of the node:

    blocks                      ptp + underlay-ipam, then underlay-ipam for the default route of IPv4
    podCIDRs                    ptp + host-local, which asks no agent
    blocks, podCIDRs            ptp + underlay-ipam, which runs host-local for the family of the podCIDRs; then the same
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ipam import cni_plugin, host_local
from ipam.cni_plugin import QUEUE, SOCKET
from ipam.cni_request import ANNOTATIONS

PLUGIN = "underlay-ipam"
NETWORK = "k8s-pod-network"
#: Runtimes take the first of the folder.
FILE_NAME = "10-underlay.conflist"
_SYSTEMS_PYTHON = "/usr/bin/python3"
_PATIENCE_S = 10.0


@dataclass(frozen=True, slots=True)
class Conflist:
    """`mtu` in bytes: that of the uplinks. `version` is one that the `ptp` of the node knows; Debian 12's has 1.0.0.

    `pod_cidrs` are those that host-local gives addresses of, `blocks` says whether our IPAM gives some.
    """

    mtu: int
    version: str = "1.0.0"
    network: str = NETWORK
    socket: Path = Path(SOCKET)
    queue: Path = Path(QUEUE)
    pod_cidrs: tuple[str, ...] = ()
    blocks: bool = True

    def document(self) -> dict[str, Any]:
        """`ptp` with who gives the addresses; our plugin for the default route of IPv4, where `ptp` cannot make it."""
        plugins = self._by_agent() if self.blocks else [self._ptp(self._host_local(), "ips")]
        return {"cniVersion": self.version, "name": self.network, "plugins": plugins}

    def _by_agent(self) -> list[dict[str, Any]]:
        ipam: dict[str, Any] = {"type": PLUGIN, "socket": str(self.socket), "queue": str(self.queue)}
        if self.pod_cidrs:
            ipam["hostLocal"] = self._host_local()
        return [self._ptp(ipam, ANNOTATIONS, "ips"), {"type": PLUGIN}]

    def _ptp(self, ipam: dict[str, Any], *capabilities: str) -> dict[str, Any]:
        return {
            "type": "ptp",
            "mtu": self.mtu,
            "ipMasq": False,
            "ipam": ipam,
            "capabilities": dict.fromkeys(capabilities, True),
        }

    def _host_local(self) -> dict[str, Any]:
        """What it keeps is beside the socket, in a folder that a reboot empties: it ends all pods, and tells nobody."""
        defaults = ["::/0" if ":" in cidr else "0.0.0.0/0" for cidr in self.pod_cidrs]
        return {
            "type": "host-local",
            "ranges": [[{"subnet": cidr}] for cidr in self.pod_cidrs],
            "routes": [{"dst": default} for default in defaults],
            "dataDir": str(self.socket.parent / host_local.FOLDER),
        }

    def text(self) -> str:
        """As the file has it."""
        return json.dumps(self.document(), indent=2) + "\n"


def keep_conflist(folder: Path, conflist: Conflist, ready: bool) -> bool:
    """Makes the file say what the list says, if the node is ready; whether it was written. Raises OSError."""
    path = folder / FILE_NAME
    text = conflist.text().encode()
    if not ready or (path.exists() and path.read_bytes() == text):
        return False
    _replace(path, text, 0o644)
    return True


def install_plugin(folder: Path, python: str = "") -> Path:
    """Puts the plugin into the folder of plugins, to be run by that Python, else a usual one. Raises OSError."""
    path = folder / PLUGIN
    python = python or usual_python()
    source = Path(cni_plugin.__file__).read_text(encoding="utf-8")
    _, _, rest = source.partition("\n")
    text = f"#!{python} -IS\n{rest}".encode()
    if not path.exists() or path.read_bytes() != text:
        _replace(path, text, 0o755)
    return path


@cache
def usual_python(systems: str = _SYSTEMS_PYTHON) -> str:
    """The system's Python, which stays whatever becomes of ours; ours, where that is missing or too old."""
    command = (systems, "-IS", "-c", "import sys; sys.exit(sys.version_info < (3, 11))")
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_PATIENCE_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return os.path.realpath(sys.executable)
    return systems if done.returncode == 0 else os.path.realpath(sys.executable)


def _replace(path: Path, text: bytes, mode: int) -> None:
    """Whole or not at all, also when the power fails: written beside it, synced, and put in its place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(unfinished, "wb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            os.fchmod(file.fileno(), mode)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
