"""The helper that ExaBGP runs: a pipe on one side, the agent's unix socket on the other, and patience.

    python3 -SEI exabgp_shim.py [--orphan-timeout SECONDS] SOCKET

Why it exists. ExaBGP writes to its helper with blocking writes: a helper that stops reading freezes it after
64 KiB, and the peers drop their sessions when the hold timer runs out. A helper that dies while a line is
being written stops all peers for ever, and the sixth death within a minute ends ExaBGP. So the helper must
be something that never blocks, never dies first, and is never upgraded; the agent behind it may do all that.

Rules.
- Read from ExaBGP always, whatever the agent does. Lines wait in memory, 64 MiB at most; an agent that is
  further behind than that is cut off.
- Without an agent, whole lines are counted and thrown away. The first line of every connection says how many:
  {"type": "shim", "lost": N, "ppid": PID of ExaBGP}.
- Only whole commands reach ExaBGP: what an agent left unfinished when it died is forgotten.
- Back-pressure only towards the agent, by not reading from it.
- The agent listens; the shim dials, every 0.2 s, without ever waiting for the connection.
- When ExaBGP's pipe closes, ExaBGP is gone and so is the shim.
- When no agent was there for `--orphan-timeout` seconds, nobody keeps ExaBGP's announcements true any more:
  it is ended, SIGTERM first, SIGKILL after 5 s. The pipe is kept empty meanwhile.

Only the standard library, one file, runnable by path: the agent puts a copy where ExaBGP's user can read it.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import select
import signal
import socket
import sys
import time

STDIN, STDOUT = 0, 1
End = int | socket.socket
BUFFER_LIMIT = 64 << 20
COMMAND_LIMIT = 1 << 20
PIPE_SIZE = 1 << 20
CHUNK = 1 << 18
DIAL_EVERY = 0.2
KILL_AFTER = 5.0


class Relay:
    """Both directions and the agent's connection; `step` does what can be done without waiting."""

    def __init__(self, path: str, orphan_timeout: float | None) -> None:
        self._path = path
        self._orphan_timeout = orphan_timeout
        self._exabgp = os.getppid()
        self._agent: socket.socket | None = None
        self._to_agent = bytearray()
        self._to_exabgp = bytearray()
        self._command = bytearray()
        self._lost = 0
        self._mid_line = False
        self._skip_rest = False
        self._dial_at = 0.0
        self._alone_since = time.monotonic()
        self._ended_at: float | None = None

    def step(self) -> None:
        """One round: dial if it is time, wait for anything to do (0.2 s at most without an agent), do it."""
        if self._agent is None:
            self._dial()
            self._end_orphan()
        readable, writable = self._wait()
        if STDIN in readable:
            self._read_exabgp()
        if self._agent is not None and self._agent in readable:
            self._read_agent(self._agent)
        if self._agent is not None and self._agent in writable:
            self._write_agent(self._agent)
        if STDOUT in writable:
            self._write_exabgp()

    def _wait(self) -> tuple[list[End], list[End]]:
        want_read: list[End] = [STDIN]
        want_write: list[End] = [STDOUT] if self._to_exabgp else []
        if self._agent is not None:
            if len(self._to_exabgp) < COMMAND_LIMIT:
                want_read.append(self._agent)
            if self._to_agent:
                want_write.append(self._agent)
        timeout = DIAL_EVERY if self._agent is None else None
        readable, writable, _ = select.select(want_read, want_write, [], timeout)
        return readable, writable

    def _dial(self) -> None:
        now = time.monotonic()
        if now < self._dial_at:
            return
        self._dial_at = now + DIAL_EVERY
        agent = socket.socket(socket.AF_UNIX)
        agent.setblocking(False)
        try:
            agent.connect(self._path)
        except OSError:
            agent.close()
            return
        self._agent = agent
        hello = {"type": "shim", "lost": self._lost, "ppid": self._exabgp}
        self._to_agent += json.dumps(hello).encode() + b"\n"
        self._lost = 0

    def _hang_up(self) -> None:
        if self._agent is not None:
            self._agent.close()
        self._agent = None
        self._alone_since = time.monotonic()
        self._command.clear()
        self._lost += self._to_agent.count(b"\n")
        self._to_agent.clear()
        self._skip_rest = self._mid_line

    def _read_exabgp(self) -> None:
        try:
            data = os.read(STDIN, CHUNK)
        except BlockingIOError:
            return
        if not data:
            sys.exit(0)
        self._mid_line = not data.endswith(b"\n")
        if self._agent is None:
            self._lost += data.count(b"\n")
            self._skip_rest = self._mid_line
            return
        if self._skip_rest:
            _, newline, data = data.partition(b"\n")
            self._skip_rest = not newline
        self._to_agent += data
        if len(self._to_agent) > BUFFER_LIMIT:
            self._hang_up()

    def _read_agent(self, agent: socket.socket) -> None:
        try:
            data = agent.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._hang_up()
            return
        self._command += data
        whole = self._command.rfind(b"\n") + 1
        self._to_exabgp += self._command[:whole]
        del self._command[:whole]
        if len(self._command) > COMMAND_LIMIT:
            self._hang_up()

    def _write_agent(self, agent: socket.socket) -> None:
        try:
            sent = agent.send(self._to_agent[:CHUNK])
        except BlockingIOError:
            return
        except OSError:
            self._hang_up()
            return
        del self._to_agent[:sent]

    def _write_exabgp(self) -> None:
        try:
            written = os.write(STDOUT, self._to_exabgp[:CHUNK])
        except BlockingIOError:
            return
        except OSError:
            sys.exit(0)
        del self._to_exabgp[:written]

    def _end_orphan(self) -> None:
        """Never signals anybody but the process that started us."""
        now = time.monotonic()
        if self._orphan_timeout is None or now - self._alone_since < self._orphan_timeout:
            return
        if os.getppid() != self._exabgp:
            sys.exit(0)
        if self._ended_at is None:
            self._ended_at = now
            os.kill(self._exabgp, signal.SIGTERM)
        elif now - self._ended_at > KILL_AFTER:
            os.kill(self._exabgp, signal.SIGKILL)


def main() -> None:
    """Runs until ExaBGP's pipe closes."""
    parser = argparse.ArgumentParser(description="Relays ExaBGP's API to the agent's unix socket.")
    parser.add_argument("socket")
    parser.add_argument("--orphan-timeout", type=float, default=None, metavar="SECONDS")
    arguments = parser.parse_args()
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    for descriptor in (STDIN, STDOUT):
        os.set_blocking(descriptor, False)
    with contextlib.suppress(OSError):
        fcntl.fcntl(STDIN, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
    relay = Relay(arguments.socket, arguments.orphan_timeout)
    while True:
        relay.step()


if __name__ == "__main__":
    main()
