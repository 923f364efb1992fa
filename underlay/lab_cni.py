"""Where a node of a lab has its CNI things, for the agent that writes them and for the runtime that uses them.

NODE/cni/agent.sock, net.d/, deletions/    the agent's; NODE/cni/results/  the runtime's
/var/lib/underlay/lab/NAME/                the plugin: many systems mount /run with `noexec`
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from containerlab.cni_runtime import Runtime
from containerlab.pods import reference_plugins

PROGRAMS = Path("/var/lib/underlay/lab")


@dataclass(frozen=True, slots=True)
class NodeCni:
    """`folder` is the node's own, `programs` the lab's; `namespace` is the node's."""

    folder: Path
    programs: Path
    namespace: str

    @property
    def socket(self) -> Path:
        return self.folder / "agent.sock"

    @property
    def lists(self) -> Path:
        return self.folder / "net.d"

    @property
    def queue(self) -> Path:
        return self.folder / "deletions"

    def options(self) -> tuple[str, ...]:
        """Of `underlay speaker`."""
        places = {"net-dir": self.lists, "bin-dir": self.programs, "socket": self.socket, "queue": self.queue}
        return ("--cni", *(word for name, path in places.items() for word in (f"--cni-{name}", str(path))))

    def runtime(self) -> Runtime:
        """The node's container runtime."""
        return Runtime(self.namespace, self.lists, (self.programs, *reference_plugins()), self.folder / "results")
