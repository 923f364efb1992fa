"""The runner's side of node_init.py: writes its spec, starts it, tells it of changes, reads its state."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from containerlab import namespaces
from containerlab.daemons import Daemon
from containerlab.lab_state import read_json
from peering.problems import Problem

NODE_INIT = Path(__file__).with_name("node_init.py")
LOG_BYTES = 4 << 20
READY_SECONDS = 15.0
_POLL = 0.02


@dataclass(frozen=True, slots=True)
class DaemonStatus:
    """`uptime` in seconds of this life; `restarts` counts deaths since the node was started."""

    name: str
    pid: int | None
    alive: bool
    uptime: float
    restarts: int


class InitControl:
    """One node's init; `node_dir` is the node's directory, `namespace` the one it runs in."""

    def __init__(self, node: str, namespace: str, node_dir: Path) -> None:
        self.node = node
        self.namespace = namespace
        self.dir = node_dir / "init"
        self.logs = node_dir / "log"

    def pid(self) -> int | None:
        """The running init's pid: what its file says, if that process is in the node's namespace."""
        try:
            pid = int((self.dir / "init.pid").read_text(encoding="ascii"))
        except (OSError, ValueError):
            return None
        return pid if namespaces.is_inside(pid, self.namespace) else None

    async def apply(self, daemons: Sequence[Daemon]) -> tuple[Problem, ...]:
        """Makes these the node's daemons: starts init if it does not run, else lets it make the difference."""
        spec = self._spec(daemons)
        unchanged = spec == read_json(self.dir / "spec.json")
        if self.pid() is not None and unchanged:
            return ()
        self.dir.mkdir(exist_ok=True)
        self.logs.mkdir(exist_ok=True)
        _write_private(self.dir / "spec.json", json.dumps(spec))
        pid = self.pid()
        if pid is not None:
            os.kill(pid, signal.SIGHUP)
            return ()
        return await self._start() if daemons else ()

    async def _start(self) -> tuple[Problem, ...]:
        # Without its init a node is dead, whatever of it still runs: begin from nothing, as after a power cut.
        await namespaces.kill([self.namespace])
        (self.dir / "init.json").unlink(missing_ok=True)
        done = await namespaces.run(
            self.namespace, (sys.executable, "-IS", str(NODE_INIT), str(self.dir / "spec.json"))
        )
        return () if done.ok else (Problem("error", "init-failed", f"Node/{self.node}", "", done.reason()),)

    def _spec(self, daemons: Sequence[Daemon]) -> dict[str, Any]:
        listed = [daemon.to_json() for daemon in daemons]
        generation = hashlib.sha256(json.dumps(listed, sort_keys=True).encode()).hexdigest()[:16]
        where = {"run_dir": str(self.dir), "log_dir": str(self.logs), "log_bytes": LOG_BYTES}
        return {**where, "generation": generation, "daemons": listed}

    async def wait_ready(self, daemons: Sequence[Daemon], seconds: float = READY_SECONDS) -> tuple[Problem, ...]:
        """Until all run and took their configuration; what did not, with the last line it wrote."""
        if not daemons and self.pid() is None:
            return ()
        generation, deadline = self._spec(daemons)["generation"], time.monotonic() + seconds
        while True:
            state = read_json(self.dir / "init.json")
            current = state.get("generation") == generation
            waiting = [d.name for d in daemons if not (current and _settled(state["daemons"].get(d.name, {})))]
            if (current and not waiting) or time.monotonic() > deadline:
                return tuple(self._problems(daemons, state.get("daemons", {}), waiting))
            await asyncio.sleep(_POLL)

    def _problems(
        self, daemons: Sequence[Daemon], states: Mapping[str, Any], waiting: Sequence[str]
    ) -> Iterator[Problem]:
        for daemon in daemons:
            code = states.get(daemon.name, {}).get("postStartExit")
            if daemon.name in waiting or code:
                what = "does not come up" if daemon.name in waiting else f"refused its configuration ({code})"
                hint = f"{self.last_line(daemon.name)} [{self.logs / daemon.name}.log]".strip()
                yield Problem("error", "daemon-not-ready", f"Node/{self.node}", daemon.name, what, hint)

    def last_line(self, name: str) -> str:
        try:
            lines = (self.logs / f"{name}.log").read_text(encoding="utf-8", errors="replace").strip().splitlines()
        except OSError:
            return ""
        return lines[-1] if lines else ""

    def status(self) -> tuple[DaemonStatus, ...]:
        listed = read_json(self.dir / "spec.json").get("daemons", [])
        states = read_json(self.dir / "init.json").get("daemons", {}) if self.pid() is not None else {}
        return tuple(self._status(spec["name"], states.get(spec["name"], {})) for spec in listed)

    def _status(self, name: str, state: Mapping[str, Any]) -> DaemonStatus:
        pid = state.get("pid")
        alive = pid is not None and namespaces.is_inside(pid, self.namespace)
        uptime = time.clock_gettime(time.CLOCK_BOOTTIME) - state["started"] if alive else 0.0
        return DaemonStatus(name, pid if alive else None, alive, uptime, state.get("restarts", 0))


def _settled(state: Mapping[str, Any]) -> bool:
    return state.get("pid") is not None and bool(state.get("postStartDone"))


def _write_private(path: Path, text: str) -> None:
    """The spec holds daemons' environments: nobody else's business."""
    new = path.with_name(path.name + ".new")
    new.touch(0o600)
    new.write_text(text, encoding="utf-8")
    new.replace(path)
