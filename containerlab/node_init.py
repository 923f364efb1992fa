"""The first process of a lab node: starts the node's daemons, restarts those that die, reaps all. Stdlib only.

    python -I node_init.py SPECFILE

It is started inside the node's network namespace and stands for what kubelet, systemd or a container runtime
would be. It detaches and returns 0 as soon as its pid file is written. The spec is JSON:

    {"run_dir": DIR, "log_dir": DIR, "log_bytes": N, "generation": TEXT, "daemons": [DAEMON...]}
    DAEMON = {"name":..., "argv": [...], "env": {...}, "cwd": DIR | null, "user": NAME | null,
              "ready": [PATH...], "post_start": [ARG...]}

Rules:
- Daemons run in the foreground and are started in order; the next one waits until every `ready` path of the one
  before exists (a socket: accepts), at most READY_SECONDS. Then `post_start` runs, once after every start.
- One that exits is started again after 0.2 s, doubling to 5 s; a life of 10 s resets the delay.
- SIGHUP: read the spec again; start what is new, stop what is gone, restart what changed, leave the rest alone.
- SIGTERM: stop all in reverse order (SIGTERM, after STOP_SECONDS SIGKILL) and exit.
- Orphans come to us (PR_SET_CHILD_SUBREAPER). They are left running when their daemon is restarted, so that a
  helper may outlive its agent on purpose, and end with the node. Each carries LAB_DAEMON in its environment,
  so that removing a daemon finds them too.

`run_dir` gets `init.pid`, `NAME.pid`, `init.json` (state); `log_dir` `NAME.log`, at `log_bytes` `NAME.log.1`.
The loop waits in sigtimedwait() with its signals blocked, so no handler runs in the middle of anything. Times are
CLOCK_BOOTTIME seconds, which other processes can compare.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import pwd
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterable
from typing import Any

BACKOFF_FIRST, BACKOFF_LAST, RESET_SECONDS = 0.2, 5.0, 10.0
READY_SECONDS, STOP_SECONDS, POST_SECONDS = 5.0, 3.0, 20.0
POLL_SECONDS, IDLE_SECONDS = 0.02, 5.0
SIGNALS = {signal.SIGCHLD, signal.SIGHUP, signal.SIGTERM, signal.SIGINT}
_PR_SET_CHILD_SUBREAPER = 36


def now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Daemon:
    """One supervised daemon: `process` is None between two lives, `due` is when the next one begins.

    Popen objects are kept until their death is known: the subprocess module reaps the child of a dropped one.
    """

    def __init__(self, spec: dict[str, Any]) -> None:
        self.spec = spec
        self.name: str = spec["name"]
        self.process: subprocess.Popen[bytes] | None = None
        self.started = 0.0
        self.restarts = 0
        self.delay = BACKOFF_FIRST
        self.due = 0.0
        self.last_exit: int | None = None
        self.post: subprocess.Popen[bytes] | None = None
        self.post_deadline = 0.0
        self.post_exit: int | None = None

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process else None

    def is_ready(self) -> bool:
        return all(accepts(path) for path in self.spec.get("ready", ()))

    def ended(self, code: int) -> None:
        """Plans the next life; `code` as subprocess counts it, negative for a signal."""
        lived = now() - self.started
        self.delay = BACKOFF_FIRST if lived >= RESET_SECONDS else self.delay
        self.due, self.delay = now() + self.delay, min(self.delay * 2, BACKOFF_LAST)
        if self.process is not None:
            self.process.returncode = code
        self.process, self.last_exit, self.restarts = None, code, self.restarts + 1

    def state(self) -> dict[str, Any]:
        return {
            "pid": self.pid,
            "started": self.started,
            "restarts": self.restarts,
            "lastExit": self.last_exit,
            "postStartExit": self.post_exit,
            "postStartDone": not self.post_deadline,
        }


class Init:
    """The supervisor of one node."""

    def __init__(self, spec_file: str) -> None:
        self.spec_file = spec_file
        self.spec = read_spec(spec_file)
        self.daemons: dict[str, Daemon] = {}
        self.stopping = False

    def path(self, name: str) -> str:
        return os.path.join(self.spec["run_dir"], name)

    def log_path(self, name: str) -> str:
        return os.path.join(self.spec["log_dir"], f"{name}.log")

    def say(self, text: str) -> None:
        with open(self.log_path("init"), "a", encoding="utf-8") as log:
            log.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S')} {text}\n")

    def run(self) -> None:
        """Until SIGTERM."""
        self.reconcile()
        while not self.stopping:
            self.start_due()
            self.wait(self.next_deadline() - now())
            self.bound_logs()
        for name in reversed(list(self.daemons)):
            self.stop(self.daemons.pop(name))
        kill_all(descendants(os.getpid()))
        for name in ("init.pid", "init.json"):
            remove(self.path(name))

    def wait(self, seconds: float) -> None:
        """Handles the signals of at most `seconds`: those that came, and the deaths they tell of."""
        info = signal.sigtimedwait(SIGNALS, max(0.0, seconds))
        number = info.si_signo if info else 0
        self.stopping |= number in (signal.SIGTERM, signal.SIGINT)
        if number == signal.SIGHUP:
            self.reload()
        self.reap()

    def next_deadline(self) -> float:
        dues = [daemon.due for daemon in self.daemons.values() if daemon.pid is None]
        waiting = any(daemon.post_deadline and not daemon.post for daemon in self.daemons.values())
        return min([now() + (POLL_SECONDS if waiting else IDLE_SECONDS), *dues])

    def reload(self) -> None:
        try:
            self.spec = read_spec(self.spec_file)
        except (OSError, ValueError, KeyError) as error:
            self.say(f"spec not read again: {error}")
            return
        self.reconcile()

    def reconcile(self) -> None:
        wanted = {spec["name"]: spec for spec in self.spec["daemons"]}
        for name in [name for name, daemon in self.daemons.items() if wanted.get(name) != daemon.spec][::-1]:
            self.stop(self.daemons.pop(name))
        self.daemons = {name: self.daemons.get(name) or Daemon(spec) for name, spec in wanted.items()}
        self.write_state()

    def start_due(self) -> None:
        for daemon in list(self.daemons.values()):
            if daemon.pid is None and daemon.due <= now() and not self.stopping:
                self.start(daemon)
            self.drive_post_start(daemon)

    def start(self, daemon: Daemon) -> None:
        for path in daemon.spec.get("ready", ()):
            remove(path)
        daemon.started = now()
        try:
            daemon.process = self.spawn(daemon, daemon.spec["argv"])
        except (OSError, subprocess.SubprocessError, ValueError, KeyError) as error:
            self.say(f"{daemon.name}: cannot start: {error}")
            daemon.ended(127)
        else:
            self.say(f"{daemon.name}: started, pid {daemon.pid}")
            write(self.path(f"{daemon.name}.pid"), f"{daemon.pid}\n")
            daemon.post, daemon.post_exit = None, None
            daemon.post_deadline = now() + POST_SECONDS if daemon.spec.get("post_start") else 0.0
            self.await_ready(daemon)
        self.write_state()

    def spawn(self, daemon: Daemon, argv: list[str]) -> subprocess.Popen[bytes]:
        user = daemon.spec.get("user")
        with open(self.log_path(daemon.name), "ab") as log:
            return subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=daemon.spec.get("cwd"),
                env={**os.environ, **daemon.spec.get("env", {}), "LAB_DAEMON": daemon.name},
                start_new_session=True,
                preexec_fn=unblock,
                **(identity(user) if user else {}),
            )

    def await_ready(self, daemon: Daemon) -> None:
        """The start of the others waits; signals other than deaths wait in the kernel."""
        deadline = now() + READY_SECONDS
        while daemon.pid is not None and now() < deadline and not daemon.is_ready():
            signal.sigtimedwait({signal.SIGCHLD}, POLL_SECONDS)
            self.reap()

    def drive_post_start(self, daemon: Daemon) -> None:
        if not daemon.post_deadline or daemon.post or daemon.pid is None:
            return
        if daemon.is_ready():
            try:
                daemon.post = self.spawn(daemon, daemon.spec["post_start"])
            except (OSError, subprocess.SubprocessError) as error:
                self.say(f"{daemon.name}: post_start: {error}")
                daemon.post_deadline, daemon.post_exit = 0.0, 127
        elif now() > daemon.post_deadline:
            self.say(f"{daemon.name}: not ready after {POST_SECONDS:.0f} s, post_start not run")
            daemon.post_deadline, daemon.post_exit = 0.0, 124

    def reap(self) -> None:
        """Collects every dead child, ours or an orphan's."""
        changed = False
        with contextlib.suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                changed = self.died(found[0], os.waitstatus_to_exitcode(found[1])) or changed
        if changed:
            self.write_state()

    def died(self, pid: int, code: int) -> bool:
        for daemon in self.daemons.values():
            if daemon.pid == pid:
                self.say(f"{daemon.name}: pid {pid} ended with {code}")
                remove(self.path(f"{daemon.name}.pid"))
                daemon.ended(code)
                return True
            if daemon.post is not None and daemon.post.pid == pid:
                daemon.post.returncode = code
                daemon.post, daemon.post_deadline, daemon.post_exit = None, 0.0, code
                if code:
                    self.say(f"{daemon.name}: post_start ended with {code}, see {daemon.name}.log")
                return True
        return False

    def stop(self, daemon: Daemon) -> None:
        """The daemon, what descends from it and its orphans; returns when they are gone."""
        pids = family(daemon)
        if daemon.process is not None:
            send([daemon.process.pid], signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                daemon.process.wait(STOP_SECONDS)
        kill_all(pids | family(daemon))
        if daemon.process is not None and daemon.process.returncode is None:
            daemon.process.wait(STOP_SECONDS)
        remove(self.path(f"{daemon.name}.pid"))
        self.say(f"{daemon.name}: stopped")

    def bound_logs(self) -> None:
        """Copy and truncate: the daemon keeps its open file, which it appends to."""
        for name in ("init", *self.daemons):
            path = self.log_path(name)
            with contextlib.suppress(OSError):
                if os.stat(path).st_size > self.spec["log_bytes"]:
                    with open(path, "r+b") as log:
                        write(f"{path}.1", log.read().decode("utf-8", "replace"))
                        log.truncate(0)

    def write_state(self) -> None:
        daemons = {name: daemon.state() for name, daemon in self.daemons.items()}
        state = {"pid": os.getpid(), "generation": self.spec.get("generation"), "daemons": daemons}
        write(self.path("init.json"), json.dumps(state))


def read_spec(path: str) -> dict[str, Any]:
    with open(path, encoding="utf-8") as file:
        spec: dict[str, Any] = json.load(file)
    for daemon in spec["daemons"]:
        daemon["name"], daemon["argv"]
    return spec


def write(path: str, text: str) -> None:
    """Whole or not at all; a full disk must not end the supervisor."""
    with contextlib.suppress(OSError):
        with open(f"{path}.new", "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(f"{path}.new", path)


def remove(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)


def accepts(path: str) -> bool:
    """Whether a socket listens at `path`; any other file only has to exist."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return True
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(path)
    except OSError:
        return False
    return True


def family(daemon: Daemon) -> set[int]:
    """Its process, all that descends from it, and whatever carries its name in the environment below us."""
    below = descendants(os.getpid())
    marked = {pid for pid in below if f"LAB_DAEMON={daemon.name}".encode() in environment(pid)}
    return marked | (descendants(daemon.pid) | {daemon.pid} if daemon.pid else set())


def environment(pid: int) -> list[bytes]:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return file.read().split(b"\0")
    except OSError:
        return []


def descendants(pid: int) -> set[int]:
    """All processes below `pid`, from one pass over /proc (a process may have forked in any of its threads)."""
    below: dict[int, set[int]] = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as file:
            parent = int(file.read().rpartition(")")[2].split()[1])
            below.setdefault(parent, set()).add(int(entry))
    found: set[int] = set()
    todo = below.get(pid, set())
    while todo:
        found |= todo
        todo = {child for parent in todo for child in below.get(parent, ())} - found
    return found


def send(pids: Iterable[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def kill_all(pids: set[int]) -> None:
    """SIGKILL, and a wait until they are gone. Reaps only these: the deaths of others are somebody's news."""
    deadline = now() + STOP_SECONDS
    while pids and now() < deadline:
        send(pids, signal.SIGKILL)
        pids = {pid for pid in pids if not gone(pid)}
        time.sleep(POLL_SECONDS if pids else 0)


def gone(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return not os.path.exists(f"/proc/{pid}")


def identity(user: str) -> dict[str, Any]:
    """The user with all its groups, as login would give them."""
    uid, gid = pwd.getpwnam(user)[2:4]
    return {"user": uid, "group": gid, "extra_groups": os.getgrouplist(user, gid)}


def unblock() -> None:
    """In the child: a daemon must not inherit our blocked signals."""
    signal.pthread_sigmask(signal.SIG_SETMASK, set())


def detach(spec: dict[str, Any]) -> None:
    """Leaves the caller's session and terminal; the caller returns when the pid file is there."""
    ready, done = os.pipe()
    if os.fork():
        os.close(done)
        ok = os.read(ready, 1) == b"1"
        os._exit(0 if ok else 1)
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    log = os.open(os.path.join(spec["log_dir"], "init.log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for target, source in ((0, null), (1, log), (2, log)):
        os.dup2(source, target)
    write(os.path.join(spec["run_dir"], "init.pid"), f"{os.getpid()}\n")
    os.write(done, b"1")
    for descriptor in (ready, done, null, log):
        os.close(descriptor)


def main(argv: list[str]) -> int:
    try:
        init = Init(*argv[1:])
    except (OSError, ValueError, KeyError, TypeError) as error:
        sys.stderr.write(f"usage: node_init.py SPECFILE: {error}\n")
        return 2
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    detach(init.spec)
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    init.run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
