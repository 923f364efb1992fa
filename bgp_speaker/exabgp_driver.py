"""ExaBGP as the agent sees it: a configuration goes in, events come out, commands are answered.

`ensure(text)` brings it about that an ExaBGP runs on that configuration, by the gentlest way that works:

    nothing runs                                  start
    one of a former agent runs                    adopt it: sessions stay up
    it runs on this generation already            nothing
    it runs on another one                        validate, write, SIGUSR1, prove
    the proof does not come                       end it and start anew, behind graceful restart

A rejected file must never reach ExaBGP (it would refuse every later reload too), and a reload is dropped in
silence while a neighbour that is down has unsent routes: hence validate before, and the descriptions
read back after, a bounded number of times. So: announce to neighbours that are up only.

An ExaBGP that ends is started again after 0.1 s, doubling to 10 s while it keeps ending. One that does not
answer is ended. One whose agent stays away ends by its shim's orphan timeout.

`Connected` is the moment of truth: whatever was known about sessions and learned routes is replaced by what
it says, and the peers are asked for their routes again, whether `lost` is 0 or not (lines that were under
way when an agent died are not counted). With `fresh` ExaBGP announces nothing yet; else `announced()` tells.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bgp_speaker import exabgp_config
from bgp_speaker.exabgp_channel import ACK_TIMEOUT, Channel, Disconnected
from bgp_speaker.exabgp_commands import SHOW_ANNOUNCED, SHOW_CONFIGURATION, SHOW_NEIGHBORS, parse_announced
from bgp_speaker.exabgp_events import Event, ShimHello, Undecodable
from bgp_speaker.exabgp_neighbors import NeighborState, neighbor_states
from bgp_speaker.exabgp_process import ExaBGPProcess
from bgp_speaker.exabgp_user import DEFAULT_USER, choose_account

Outcome = Literal["unchanged", "started", "adopted", "reloaded", "restarted"]

ORPHAN_TIMEOUT = 120.0
ADOPT_TIMEOUT = 5.0
START_TIMEOUT = 15.0
RELOAD_SIGNALS = 5
_PROOF_DELAYS = (0.02, 0.05, 0.1, 0.2, 0.4)
_BACKOFF = (0.1, 10.0)
_STABLE_AFTER = 30.0
_NEIGHBOR = re.compile(r"^neighbor (\S+) \{$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Connected:
    """The channel is ready. `fresh`: a new process, nothing is announced. `adopted`: a former agent's."""

    pid: int
    fresh: bool
    adopted: bool
    lost: int
    neighbors: tuple[NeighborState, ...]


@dataclass(frozen=True, slots=True)
class Exited:
    """ExaBGP ended; it is started again unless `stop` was called. The peers keep routes if they may."""

    reason: str


class ConfigRefused(ValueError):
    """ExaBGP does not take the configuration; the old one is still in force. The text has no password."""


class ExaBGPFailed(RuntimeError):
    """ExaBGP does not come up; it is tried again in the background."""


class ExaBGP:
    """The one ExaBGP of a run directory. One agent at a time may use it."""

    def __init__(
        self,
        run_dir: Path,
        *,
        on_event: Callable[[Event | Connected | Exited], None],
        log: Callable[[str], None],
        user: str = DEFAULT_USER,
        orphan_timeout: float = ORPHAN_TIMEOUT,
        ack_timeout: float = ACK_TIMEOUT,
        interpreter: str = sys.executable,
        prefix: Sequence[str] = (),
    ) -> None:
        """`interpreter` has the exabgp package; `prefix` goes before the command, as `ip netns exec NAME`."""
        self.run_dir = run_dir.resolve()
        self.socket_path = self.run_dir / "exabgp.sock"
        self._process = ExaBGPProcess(
            self.run_dir, log=log, on_exit=self._exited, interpreter=interpreter, prefix=prefix
        )
        self._channel = Channel(
            self.socket_path,
            admit=lambda pid: pid == self._process.pid,
            on_ready=self._connected,
            on_event=on_event,
            on_stuck=self._stuck,
            ack_timeout=ack_timeout,
        )
        self._on_event = on_event
        self._log = log
        self._user = user
        self._interpreter = interpreter
        self._orphan_timeout = orphan_timeout
        self._text: str | None = None
        self._proven = False
        self._spawned_pid: int | None = None
        self._seen_pid: int | None = None
        self._backoff = _BACKOFF[0]
        self._spawned_at = 0.0
        self._stopping = False
        self._listening = False
        self._changing = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def shim_command(self) -> tuple[str, ...]:
        """For `compile_config`, together with `socket_path`."""
        timeout = f"{self._orphan_timeout:g}"
        return (self._interpreter, "-SEI", str(self._process.shim_path), "--orphan-timeout", timeout)

    @property
    def pid(self) -> int | None:
        """ExaBGP's process ID while it runs."""
        return self._process.pid

    @property
    def ready(self) -> bool:
        """Whether commands can be sent now."""
        return self._channel.pid is not None

    async def start(self, config_text: str) -> Outcome:
        """`ensure`, and before it, once: the run directory is prepared and the channel listens.

        Raises OSError when that cannot be done; the next call tries it again. See `ensure` for other errors.
        """
        if not self._listening:
            self._process.prepare()
            account = await choose_account(self._user, self._interpreter, str(self._process.shim_path), self._log)
            self._process.use_account(account)
            await self._channel.listen(account.uid, account.gid)
            self._listening = True
        return await self.ensure(config_text)

    async def ensure(self, config_text: str) -> Outcome:
        """Makes ExaBGP run on this configuration and says how.

        Raises ConfigRefused (nothing changed) and ExaBGPFailed (the new one is written and tried again).
        """
        async with self._changing:
            if config_text == self._text and self._proven and self._process.pid is not None:
                return "unchanged"
            adopted = self._process.pid is None and await self._adopt()
            reason = await self._process.validate(config_text)
            if reason is not None:
                raise ConfigRefused(reason)
            self._process.write_config(config_text)
            self._text, self._proven = config_text, False
            outcome = await self._bring_about(config_text)
            self._proven = True
            return "adopted" if adopted and outcome == "unchanged" else outcome

    async def command(self, line: str) -> bool:
        """One command; True for `done`. Raises Disconnected."""
        return await self._channel.command(line)

    async def send_all(self, lines: Iterable[str]) -> list[str]:
        """Many commands, one after the other; those refused are returned. Raises Disconnected."""
        return await self._channel.send_all(lines)

    async def query(self, line: str) -> list[str]:
        """The lines that answer a `show`. Raises Disconnected, or ValueError when it is refused."""
        return await self._channel.query(line)

    async def neighbors(self) -> tuple[NeighborState, ...]:
        """All neighbours as they are now."""
        return neighbor_states(await self._channel.query_json(SHOW_NEIGHBORS))

    async def announced(self) -> dict[str, set[str]]:
        """Neighbour -> prefixes that ExaBGP announces to it, or will as soon as it is up."""
        found: dict[str, set[str]] = {}
        for line in await self._channel.query(SHOW_ANNOUNCED):
            parsed = parse_announced(line)
            if parsed is not None:
                found.setdefault(parsed[0], set()).add(parsed[1])
        return found

    async def stop(self) -> None:
        """Ends ExaBGP. Without a NOTIFICATION when graceful restart is on: withdraw before, if that is wanted."""
        self._stopping = True
        await self._process.terminate()
        await self._close()

    async def leave(self) -> None:
        """Ends this side only: ExaBGP goes on until the next agent adopts it, or its orphan timeout."""
        self._stopping = True
        await self._close()

    async def _close(self) -> None:
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._channel.close()
        self._process.release()
        self.socket_path.unlink(missing_ok=True)

    async def _bring_about(self, text: str) -> Outcome:
        if self._process.pid is None:
            return await self._start("started")
        if await self._proves(text):
            return "unchanged"
        if await self._reload(text):
            return "reloaded"
        self._log("ExaBGP did not take the reload: it is restarted")
        self._backoff = _BACKOFF[0]
        await self._process.terminate()
        return await self._start("restarted")

    async def _adopt(self) -> bool:
        pid = self._process.find_running()
        if pid is None:
            return False
        try:
            self._process.adopt(pid)
        except OSError:
            return False
        if await self._channel.wait_ready(pid, ADOPT_TIMEOUT):
            return True
        self._log(f"ExaBGP (process {pid}) of a former agent does not answer: it is ended")
        await self._process.terminate()
        return False

    async def _start(self, outcome: Outcome) -> Outcome:
        if self._process.pid is None:
            self._spawn()
        pid = self._process.pid
        if pid is None or not await self._channel.wait_ready(pid, START_TIMEOUT):
            raise ExaBGPFailed("ExaBGP does not come up; its log says why")
        return outcome

    def _spawn(self) -> None:
        self._spawned_at = asyncio.get_running_loop().time()
        try:
            self._spawned_pid = self._process.spawn()
        except OSError as error:
            self._log(f"ExaBGP cannot be started: {error.strerror}")
            self._run(self._restart())

    async def _reload(self, text: str) -> bool:
        for _ in range(RELOAD_SIGNALS):
            self._process.signal_reload()
            for delay in _PROOF_DELAYS:
                await asyncio.sleep(delay)
                if self._process.pid is None:
                    return False
                if await self._proves(text):
                    return True
        return False

    async def _proves(self, text: str) -> bool:
        """Whether ExaBGP has this generation. A reload is all or nothing, so one neighbour is enough to ask."""
        wanted = exabgp_config.descriptions(text)
        peer = _NEIGHBOR.search(text)
        try:
            answer = await self._channel.query(f"{SHOW_CONFIGURATION} {peer[1]}" if peer else SHOW_CONFIGURATION)
        except Disconnected:
            return False
        found = exabgp_config.descriptions("\n".join(answer))
        return found <= wanted and bool(found) == bool(wanted)

    def _connected(self, hello: ShimHello, items: list[Any]) -> None:
        pid = hello.exabgp_pid
        first, self._seen_pid = pid != self._seen_pid, pid
        try:
            neighbors = neighbor_states(items)
        except ValueError as error:
            neighbors = ()
            self._on_event(Undecodable(SHOW_NEIGHBORS, str(error)))
        ours = pid == self._spawned_pid
        self._on_event(Connected(pid, first and ours, not ours, hello.lost, neighbors))

    def _exited(self, reason: str) -> None:
        if self._stopping:
            return
        self._on_event(Exited(reason))
        self._run(self._restart())

    async def _restart(self) -> None:
        delay = self._backoff
        if asyncio.get_running_loop().time() - self._spawned_at > _STABLE_AFTER:
            delay = _BACKOFF[0]
        self._backoff = min(delay * 2, _BACKOFF[1])
        await asyncio.sleep(delay)
        if self._process.pid is None and not self._stopping:
            self._spawn()

    def _stuck(self) -> None:
        self._log("ExaBGP does not answer any more: it is ended")
        self._run(self._process.terminate())

    def _run(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
