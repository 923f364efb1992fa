"""One node's kernel side: sysctls, interfaces up, and the topology's `exec` lines. Each only once per life.

Sysctls are written before any link exists, because an interface copies its values from `default` when it is
made and never looks there again; only those that name an interface of the node are written after the links.
A `exec` line that names an interface runs again when that interface was made anew, since its addresses went
with the old one.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from containerlab import namespaces
from containerlab.lab_state import NodeRecord
from containerlab.topology import Node, split_command
from peering.problems import Problem

# Run inside the namespace, where /proc/sys/net is its own: {key: value} in, {key: reason} of failures out.
_WRITE_SYSCTLS = """
import json, sys
failed = {}
for key, value in json.load(sys.stdin).items():
    path = "/proc/sys/" + (key if "/" in key else key.replace(".", "/"))
    try:
        with open(path, "w") as file:
            file.write(value)
    except OSError as error:
        failed[key] = error.strerror
json.dump(failed, sys.stdout)
"""


class NodeSetup:
    """Applies what `node` says to its namespace and remembers it in `node_dir`."""

    def __init__(self, node: Node, namespace: str, node_dir: Path) -> None:
        self.node = node
        self.namespace = namespace
        self.node_dir = node_dir
        self.record = NodeRecord.load(node_dir)

    async def before_links(self, interfaces: Collection[str]) -> tuple[Problem, ...]:
        """`interfaces`: those that the node will have, whose own sysctls have to wait."""
        wanted = {key: value for key, value in self.node.sysctls.items() if not _names(key, interfaces)}
        return await self._sysctls(wanted)

    async def after_links(self, interfaces: Collection[str], new: Collection[str]) -> tuple[Problem, ...]:
        """`new`: the interfaces made just now, still down."""
        await namespaces.ip_batch([f"link set {name} up" for name in ("lo", *new)], self.namespace)
        own = {key: value for key, value in self.node.sysctls.items() if _names(key, interfaces)}
        for key in [key for key in self.record.sysctls if _names(key, new)]:
            del self.record.sysctls[key]
        self.record.exec = [line for line in self.record.exec if not set(split_command(line)) & set(new)]
        problems = (*await self._sysctls(own), *await self._exec())
        self.record.save(self.node_dir)
        return problems

    async def _sysctls(self, wanted: Mapping[str, str]) -> tuple[Problem, ...]:
        todo = {key: value for key, value in wanted.items() if self.record.sysctls.get(key) != value}
        if not todo:
            return ()
        writer = (sys.executable, "-IS", "-c", _WRITE_SYSCTLS)
        done = await namespaces.checked(namespaces.inside(self.namespace, writer), json.dumps(todo))
        failed: dict[str, str] = json.loads(done.stdout)
        self.record.sysctls |= {key: value for key, value in todo.items() if key not in failed}
        self.record.save(self.node_dir)
        return tuple(self._problem("sysctl-failed", "sysctls", f"{key}: {why}") for key, why in failed.items())

    async def _exec(self) -> tuple[Problem, ...]:
        """The lines not run yet, in order; like containerlab we go on after one that fails."""
        problems = []
        for index, line in enumerate(self.node.exec):
            if line not in self.record.exec:
                done = await namespaces.run(self.namespace, split_command(line), env=self.node.env)
                if done.ok:
                    self.record.exec.append(line)
                else:
                    problems.append(self._problem("exec-failed", f"exec[{index}]", f"`{line}`: {done.reason()}"))
        return tuple(problems)

    def _problem(self, code: str, path: str, message: str) -> Problem:
        return Problem("error", code, f"Node/{self.node.name}", path, message)


def _names(sysctl: str, interfaces: Iterable[str]) -> bool:
    parts = sysctl.split("/" if "/" in sysctl else ".")
    return not set(parts).isdisjoint(interfaces)
