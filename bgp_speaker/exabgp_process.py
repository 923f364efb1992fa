"""One `exabgp server` process: files, validation, start, adoption, signals, exit. No BGP, no policy.

The process must outlive the agent: it is started in a session of its own, without pipes to us (its log is a
file, because a logger whose pipe is gone would take ExaBGP down), and is found again by its command line,
`... exabgp_launch.py server <our configuration>`, which no other process on the machine has. The pid file is
for people and a short cut; it is never believed without the command line. The end of a process that is
not our child is seen through a pidfd, and signals go through it too, so that they reach nobody else.

The configuration holds passwords: it is written with mode 0600, belongs to the user that ExaBGP becomes (a
reload reads it after the change of user), is replaced by rename, and no password of it reaches a log line
or an error message.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bgp_speaker import exabgp_launch, exabgp_shim
from bgp_speaker.exabgp_user import Account

VALIDATE_TIMEOUT = 30.0
TERM_TIMEOUT = 5.0
LOG_LIMIT = 1 << 20
_LOG_INTERVAL = 0.5
_SECRET = re.compile(r'(md5-password[\s\'"]+)[^\s\'";]+')
_WRITTEN_SECRET = re.compile(r'md5-password "([^"]+)"')

#: A logger that cannot write would end ExaBGP; named pipes and the global settings file are not ours. The reactor's
#: speed is how long ExaBGP sleeps when nothing comes, in hundredths of a second: what comes wakes it at once, so its
#: default of 1.0 only costs CPU, more than 1 % of a core with four sessions.
_SETTINGS = {
    "exabgp_api_cli": "false",
    "exabgp_api_ack": "true",
    "exabgp_api_terminate": "true",
    "exabgp_api_chunk": "20",
    "exabgp_log_destination": "stderr",
    "exabgp_log_level": "INFO",
    "exabgp_log_processes": "false",
    "exabgp_log_statistics": "false",
    "exabgp_reactor_speed": "4.0",
    "exabgp_daemon_daemonize": "false",
}


class ExaBGPProcess:
    """The process that runs on the configuration in `run_dir`, ours or a former agent's."""

    def __init__(
        self,
        run_dir: Path,
        *,
        log: Callable[[str], None],
        on_exit: Callable[[str], None],
        interpreter: str,
        prefix: Sequence[str] = (),
    ) -> None:
        self.run_dir = run_dir
        self.config_path = run_dir / "exabgp.conf"
        self.pid_path = run_dir / "exabgp.pid"
        self.shim_path = run_dir / "exabgp_shim.py"
        self._log_path = run_dir / "exabgp.log"
        self._settings_path = run_dir / "exabgp.env"
        self._log = log
        self._on_exit = on_exit
        self._prefix = tuple(prefix)
        self._launcher = [interpreter, str(Path(exabgp_launch.__file__).resolve())]
        self._account: Account | None = None
        self._pid: int | None = None
        self._pidfd = -1
        self._child: subprocess.Popen[bytes] | None = None
        self._gone = asyncio.Event()
        self._secrets: frozenset[str] = frozenset()
        self._log_offset = 0
        self._log_task: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The process ID while it runs."""
        return self._pid

    def prepare(self) -> None:
        """Makes the run directory with the copy of the shim and ExaBGP's empty settings file."""
        self.run_dir.mkdir(parents=True, exist_ok=True)
        os.chmod(self.run_dir, 0o755)
        shutil.copyfile(exabgp_shim.__file__, self.shim_path)
        os.chmod(self.shim_path, 0o755)
        self._settings_path.write_text("[exabgp.api]\n", encoding="ascii")
        os.chmod(self._settings_path, 0o644)

    def use_account(self, account: Account) -> None:
        """Must be called once before anything below."""
        self._account = account

    async def validate(self, text: str) -> str | None:
        """What ExaBGP has against the configuration, without passwords; None when it takes it."""
        self._secrets |= frozenset(_WRITTEN_SECRET.findall(text))
        candidate = self._write(self.run_dir / "exabgp.conf.candidate", text)
        process = await asyncio.create_subprocess_exec(
            *self._launcher,
            *("validate", "-n", "-r", str(candidate)),
            env=self._environment(),
            cwd="/",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            output, _ = await asyncio.wait_for(process.communicate(), VALIDATE_TIMEOUT)
        except TimeoutError:
            process.kill()
            await process.wait()
            return f"exabgp validate did not end within {VALIDATE_TIMEOUT:g} s"
        finally:
            candidate.unlink(missing_ok=True)
        if process.returncode == 0:
            return None
        return self._redact(" ".join(output.decode("utf-8", "replace").split())) or "exabgp validate failed"

    def write_config(self, text: str) -> None:
        """Replaces the configuration file in one step."""
        self._secrets |= frozenset(_WRITTEN_SECRET.findall(text))
        self._write(self.config_path, text)

    def spawn(self) -> int:
        """Starts `exabgp server` and returns its process ID. Raises OSError."""
        with contextlib.suppress(FileNotFoundError):
            if self._log_path.stat().st_size > LOG_LIMIT:
                os.truncate(self._log_path, 0)
        descriptor = os.open(self._log_path, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            child = subprocess.Popen(
                [*self._prefix, *self._launcher, "server", str(self.config_path)],
                env=self._environment(),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=descriptor,
                start_new_session=True,
            )
        finally:
            os.close(descriptor)
        self._child = child
        self._watch(child.pid)
        return child.pid

    def find_running(self) -> int | None:
        """A live ExaBGP on our configuration: the pid file's, else the first found; None without one."""
        with contextlib.suppress(OSError, ValueError):
            pid = int(self.pid_path.read_text(encoding="ascii"))
            if self._is_ours(pid):
                return pid
        ours = {pid for pid in _all_pids() if self._is_ours(pid)}
        # Between fork and exec a helper looks like its parent.
        return min((pid for pid in ours if _parent(pid) not in ours), default=None)

    def adopt(self, pid: int) -> None:
        """Takes over the process that `find_running` found. Raises OSError when it is gone."""
        with contextlib.suppress(FileNotFoundError):
            self._log_offset = self._log_path.stat().st_size
        self._watch(pid)

    def signal_reload(self) -> None:
        """SIGUSR1: read the configuration again. ExaBGP may drop it silently."""
        self._signal(signal.SIGUSR1)

    async def terminate(self) -> None:
        """SIGTERM, and SIGKILL if that does not help. With graceful restart no NOTIFICATION is sent."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self._pid is None:
                return
            self._signal(number)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._gone.wait(), TERM_TIMEOUT)

    def release(self) -> None:
        """Looks away; the process goes on. For an agent that ends and wants to be succeeded."""
        self._unwatch()

    def _write(self, path: Path, text: str) -> Path:
        temporary = path.with_name(path.name + ".tmp")
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            if self._account is not None:
                os.fchown(file.fileno(), self._account.uid, self._account.gid)
            file.write(text)
        os.replace(temporary, path)
        return path

    def _environment(self) -> dict[str, str]:
        inherited = {k: v for k, v in os.environ.items() if not k.lower().startswith("exabgp")}
        user = {"exabgp_daemon_user": self._account.name} if self._account is not None else {}
        return {**inherited, **_SETTINGS, **user, "EXABGP_ENVFILE": str(self._settings_path)}

    def _is_ours(self, pid: int) -> bool:
        """The last words of the command line are compared: what precedes may be a wrapper."""
        wanted = [Path(exabgp_launch.__file__).name, "server", str(self.config_path)]
        try:
            state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2]
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace").split("\0")[:-1]
        except OSError:
            return False
        found = [*(os.path.basename(word) for word in words[-3:-2]), *words[-2:]]
        return found == wanted and state.split()[0] not in ("Z", "X")

    def _watch(self, pid: int) -> None:
        self._unwatch()
        self._pidfd = os.pidfd_open(pid)
        self._pid = pid
        self._gone.clear()
        loop = asyncio.get_running_loop()
        loop.add_reader(self._pidfd, self._exited)
        self.pid_path.write_text(f"{pid}\n", encoding="ascii")
        if self._log_task is None:
            self._log_task = loop.create_task(self._follow_log())

    def _unwatch(self) -> None:
        if self._pidfd >= 0:
            asyncio.get_running_loop().remove_reader(self._pidfd)
            os.close(self._pidfd)
        self._pidfd, self._pid = -1, None
        if self._log_task is not None:
            self._log_task.cancel()
            self._log_task = None

    def _exited(self) -> None:
        status = self._child.wait() if self._child is not None and self._child.pid == self._pid else None
        pid, self._child = self._pid, None
        self._read_log()
        self._unwatch()
        self.pid_path.unlink(missing_ok=True)
        self._gone.set()
        self._on_exit(f"ExaBGP (process {pid}) ended" + (f" with status {status}" if status is not None else ""))

    def _signal(self, number: signal.Signals) -> None:
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    async def _follow_log(self) -> None:
        while True:
            await asyncio.sleep(_LOG_INTERVAL)
            self._read_log()

    def _read_log(self) -> None:
        try:
            size = self._log_path.stat().st_size
            if size == self._log_offset:
                return
            with open(self._log_path, "rb") as file:
                file.seek(self._log_offset if size > self._log_offset else 0)
                lines = file.read(LOG_LIMIT).decode("utf-8", "replace").splitlines()
                self._log_offset = file.tell()
            if size > LOG_LIMIT:
                os.truncate(self._log_path, 0)
        except OSError:
            return
        for line in filter(str.strip, lines):
            self._log(f"exabgp: {self._redact(line)}")

    def _redact(self, text: str) -> str:
        text = _SECRET.sub(r"\1***", text)
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


def _all_pids() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[1])
    except (OSError, IndexError, ValueError):
        return 0
