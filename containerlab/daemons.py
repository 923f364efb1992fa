"""How FRR, BIRD, GoBGP and OpenBGPD run in a node of the lab: which processes, which arguments, from which files.

A node has a directory; a file that its container would see at `/etc/frr/frr.conf` lies in it at
`etc/frr/frr.conf`, and sockets and pid files in `run/`. Pure tables: paths in, argument lists out.

FRR. Daemons are started without configuration and get it from `vtysh -b -d DAEMON` after every start, which
is how FRR's own scripts load an integrated `frr.conf`. Handing that file to each daemon with `-f` looks the
same and is not: a daemon skips the sections it does not know, then takes the `exit` that ends one as the end
of the whole file (seen with 8.4: zebra lost every `set src` behind `router bgp`). All daemons speak as user
`frr`, which zebra insists on; so the node's directory must be reachable for that user. watchfrr is not
needed: the node's init restarts what dies. zebra comes first, because a client that finds no zebra tries
again only after 10 s. mgmtd exists since FRR 9 and owns static routes there.

Reload. `frr-reload.py` compares the running configuration with the file and sends only the difference; sessions
that the difference does not touch stay up. It needs the host name that vtysh and the daemons believe in to be
that of the file, else it "removes" it at each run: hence `vtysh.conf` and `start.conf`.

BIRD. One process, one file, `birdc configure` compares and restarts only the protocols that changed.

GoBGP. One process, one file; SIGHUP reads it again. Its file has no place for the networks that it originates: they
are said after each start, as comments in the head of a rendered file have them. It gives routes to zebra, which does
not run here: sessions and routes are real, the kernel's table is not filled.

OpenBGPD. One process that makes others; the control socket's place is said in its file, so it reads one of the runner
that says that and includes the node's. It locks itself in an empty folder which a package's service makes, and for
Linux it has no kernel table to fill.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import PurePath
from typing import Any

FRR_BINARIES = PurePath("/usr/lib/frr")
FRR_RELOAD = FRR_BINARIES / "frr-reload.py"

FRR_CONFIG, FRR_DAEMONS, BIRD_CONFIG = "etc/frr/frr.conf", "etc/frr/daemons", "etc/bird/bird.conf"
GOBGP_CONFIG, OPENBGPD_CONFIG, _OPENBGPD_FIRST = "etc/gobgp/gobgpd.yml", "etc/bgpd/bgpd.conf", "etc/bgpd/runner.conf"
FRR_RUN, BIRD_RUN, GOBGP_RUN, OPENBGPD_RUN = "run/frr", "run/bird", "run/gobgp", "run/bgpd"
OPENBGPD_CHROOT = PurePath("/run/openbgpd")

OWNERS: Mapping[str, str] = {
    "etc/frr": "frr",
    "run/frr": "frr",
    "etc/bird": "bird",
    "run/bird": "bird",
    "etc/gobgp": "root",
    "run/gobgp": "root",
    "etc/bgpd": "root",
    "run/bgpd": "root",
}
"""Folder of a node's directory -> user (and group) that owns what lies in it; all else is root's."""

_FRR_ORDER = ("mgmtd", "zebra", "staticd", "bfdd", "bgpd")
_ZEBRA_SOCKET = "zserv.api"
_STATIC = re.compile(r"^\s*(ip|ipv6) (m?route|nht) ", re.MULTILINE)
_BFD = re.compile(r"^bfd$", re.MULTILINE)
_GOBGP_NETWORK = re.compile(r"^# Say after each start: gobgp (.+)$", re.MULTILINE)
_YES = re.compile(r"^\s*([a-z0-9]+)\s*=\s*\"?yes\"?\s*(#.*)?$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Daemon:
    """What the node's init supervises; the fields are those of node_init.py. `argv[0]` is absolute or on PATH.

    `ready`: paths that exist (sockets: accept) once it serves; the next daemon waits for them.
    `post_start`: run inside the node after each start, when ready.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str | None = None
    user: str | None = None
    ready: tuple[str, ...] = ()
    post_start: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        spec = asdict(self)
        return {**spec, "argv": list(self.argv), "ready": list(self.ready), "post_start": list(self.post_start)}


def owner(path: str) -> str:
    """The user that owns a file or folder of a node's directory."""
    folder = "/".join(PurePath(path).parts[:2])
    return OWNERS.get(folder, "root")


def frr_enabled(daemons_file: str) -> tuple[str, ...]:
    """The names set to `yes` in FRR's `/etc/frr/daemons`."""
    return tuple(match[1] for match in _YES.finditer(daemons_file))


def frr_daemon_names(config: str, enabled: Collection[str] = ("bgpd",), has_mgmtd: bool = False) -> tuple[str, ...]:
    """Which daemons a node needs, in starting order: zebra always, staticd and bfdd if something is said to them."""
    wanted = {"zebra", *enabled}
    wanted |= {"bfdd"} if _BFD.search(config) else set()
    wanted |= {"mgmtd"} if has_mgmtd else set()
    wanted |= {"staticd"} if _STATIC.search(config) else set()
    return tuple(name for name in _FRR_ORDER if name in wanted)


def frr(
    node_dir: PurePath, config: str, enabled: Collection[str] = ("bgpd",), has_mgmtd: bool = False
) -> tuple[Daemon, ...]:
    """FRR on a node whose directory holds `etc/frr/frr.conf` with the text `config`."""
    return tuple(_frr_daemon(node_dir, name) for name in frr_daemon_names(config, enabled, has_mgmtd))


def frr_files(node: str) -> dict[str, str]:
    """The two small files that FRR needs besides frr.conf, by path in the node's directory."""
    return {
        "etc/frr/vtysh.conf": f"service integrated-vtysh-config\nhostname {node}\n",
        "etc/frr/start.conf": f"hostname {node}\n",
    }


def _frr_daemon(node_dir: PurePath, name: str) -> Daemon:
    etc, run = node_dir / "etc/frr", node_dir / FRR_RUN
    argv = [str(FRR_BINARIES / name), "-u", "frr", "-g", "frr", "-f", str(etc / "start.conf")]
    argv += ["-i", str(run / f"{name}.pid"), "--vty_socket", str(run), "-z", str(run / _ZEBRA_SOCKET)]
    # No port for vtys: only the socket. FRR 8 calls 0 "none".
    argv += ["-A", "127.0.0.1", "-P", "0", "--log", "stdout"]
    # Its control socket is no part of --vty_socket: without this the bfdd of every node would take the same.
    argv += ["--bfdctl", str(run / "bfdd.sock")] if name == "bfdd" else []
    return Daemon(
        name=name,
        argv=tuple(argv),
        # A daemon opens its vty last, so zebra's answers only when clients are served too.
        ready=(str(run / f"{name}.vty"),),
        post_start=(*vtysh(node_dir), "-b", "-n", "-d", name),
    )


def vtysh(node_dir: PurePath) -> tuple[str, ...]:
    """The beginning of every vtysh command for a node: `[*vtysh(dir), "-c", "show bgp summary json"]`.

    It talks through a socket in the file system, so it works from any namespace.
    """
    return ("vtysh", "--vty_socket", str(node_dir / FRR_RUN), "--config_dir", str(node_dir / "etc/frr"))


def frr_check(config_file: PurePath) -> tuple[str, ...]:
    """Parses a configuration without any daemon; exit 0 if every line is known, else lines on stderr."""
    return ("vtysh", "-C", "-f", str(config_file))


def frr_reload(node_dir: PurePath) -> tuple[str, ...]:
    """Makes the running configuration that of `etc/frr/frr.conf` by sending the difference."""
    return _frr_reload(node_dir, "--reload")


def frr_reload_diff(node_dir: PurePath) -> tuple[str, ...]:
    """Prints what `frr_reload` would delete and add."""
    return _frr_reload(node_dir, "--test")


def _frr_reload(node_dir: PurePath, mode: str) -> tuple[str, ...]:
    etc, run = str(node_dir / "etc/frr"), str(node_dir / FRR_RUN)
    options = ("--vty_socket", run, "--confdir", etc, "--rundir", run, "--stdout")
    return (str(FRR_RELOAD), mode, *options, str(node_dir / FRR_CONFIG))


def bird(node_dir: PurePath) -> tuple[Daemon, ...]:
    """BIRD on a node whose directory holds `etc/bird/bird.conf`."""
    socket = str(node_dir / BIRD_RUN / "bird.ctl")
    argv = ("bird", "-f", "-u", "bird", "-g", "bird", "-c", str(node_dir / BIRD_CONFIG), "-s", socket)
    return (Daemon(name="bird", argv=argv, ready=(socket,)),)


def birdc(node_dir: PurePath) -> tuple[str, ...]:
    """The beginning of every birdc command for a node: `[*birdc(dir), "show", "protocols"]`."""
    return ("birdc", "-s", str(node_dir / BIRD_RUN / "bird.ctl"))


def bird_check(config_file: PurePath) -> tuple[str, ...]:
    return ("bird", "-p", "-c", str(config_file))


def bird_reload(node_dir: PurePath) -> tuple[str, ...]:
    return (*birdc(node_dir), "configure")


def gobgp(node_dir: PurePath, config: str) -> tuple[Daemon, ...]:
    """GoBGP on a node whose directory holds `etc/gobgp/gobgpd.yml` with the text `config`."""
    socket = str(node_dir / GOBGP_RUN / "api.sock")
    argv = ("gobgpd", "-t", "yaml", "-f", str(node_dir / GOBGP_CONFIG), "--api-hosts", f"unix://{socket}")
    said = [[*gobgp_client(node_dir), *shlex.split(line)] for line in _GOBGP_NETWORK.findall(config)]
    post = ("sh", "-c", " && ".join(shlex.join(words) for words in said)) if said else ()
    return (Daemon(name="gobgpd", argv=(*argv, "--pprof-disable"), ready=(socket,), post_start=post),)


def gobgp_client(node_dir: PurePath) -> tuple[str, ...]:
    """The beginning of every gobgp command for a node: `[*gobgp_client(dir), "neighbor"]`."""
    return ("gobgp", "--target", f"unix://{node_dir / GOBGP_RUN / 'api.sock'}")


def openbgpd(node_dir: PurePath) -> tuple[Daemon, ...]:
    """OpenBGPD on a node whose directory holds `etc/bgpd/bgpd.conf`."""
    socket = str(node_dir / OPENBGPD_RUN / "bgpd.sock")
    start = (
        f"mkdir -p -m 755 {OPENBGPD_CHROOT} && exec /usr/sbin/bgpd -d -f {shlex.quote(str(node_dir / _OPENBGPD_FIRST))}"
    )
    return (Daemon(name="openbgpd", argv=("sh", "-c", start), ready=(socket,)),)


def bgpctl(node_dir: PurePath) -> tuple[str, ...]:
    """The beginning of every bgpctl command for a node: `[*bgpctl(dir), "show"]`."""
    return ("bgpctl", "-s", str(node_dir / OPENBGPD_RUN / "bgpd.sock"))


def clients(node_dir: PurePath) -> dict[str, tuple[str, ...]]:
    """By what one types: the command that talks to that daemon of the node and of no other."""
    return {
        "vtysh": vtysh(node_dir),
        "birdc": birdc(node_dir),
        "gobgp": gobgp_client(node_dir),
        "bgpctl": bgpctl(node_dir),
    }


def _hangup(node_dir: PurePath) -> tuple[str, ...]:
    """Its pid file is that of the node's init."""
    return ("sh", "-c", f"kill -HUP $(cat {shlex.quote(str(node_dir / 'init/gobgpd.pid'))})")


RELOADS: Mapping[str, Callable[[PurePath], tuple[str, ...]]] = {
    FRR_CONFIG: frr_reload,
    BIRD_CONFIG: bird_reload,
    GOBGP_CONFIG: _hangup,
    OPENBGPD_CONFIG: lambda node_dir: (*bgpctl(node_dir), "reload"),
}
"""Path in a node's directory -> the command that makes the running configuration that of the file."""


CHECKS: Mapping[str, Callable[[PurePath], tuple[str, ...]]] = {
    FRR_CONFIG: frr_check,
    BIRD_CONFIG: bird_check,
    GOBGP_CONFIG: lambda file: ("gobgpd", "-d", "-t", "yaml", "-f", str(file)),
    OPENBGPD_CONFIG: lambda file: ("/usr/sbin/bgpd", "-n", "-f", str(file)),
}
"""Path in a node's directory -> the command that parses that file; exit 0 if its daemon would take all of it."""


def extra_files(node: str, paths: Collection[str], node_dir: PurePath) -> dict[str, str]:
    """What has to lie beside a node's own files for its daemons to start, by path."""
    files = frr_files(node) if FRR_CONFIG in paths else {}
    if OPENBGPD_CONFIG in paths:
        socket, own = node_dir / OPENBGPD_RUN / "bgpd.sock", node_dir / OPENBGPD_CONFIG
        files[_OPENBGPD_FIRST] = f'socket "{socket}"\ninclude "{own}"\n'
    return files


def from_files(node_dir: PurePath, files: Mapping[str, str], has_mgmtd: bool = False) -> tuple[Daemon, ...]:
    """The daemons that a node's files ask for: FRR for `etc/frr/frr.conf`, BIRD for `etc/bird/bird.conf`, and so on."""
    found: tuple[Daemon, ...] = ()
    if FRR_CONFIG in files:
        enabled = frr_enabled(files[FRR_DAEMONS]) if FRR_DAEMONS in files else ("bgpd",)
        found += frr(node_dir, files[FRR_CONFIG], enabled, has_mgmtd)
    found += bird(node_dir) if BIRD_CONFIG in files else ()
    found += gobgp(node_dir, files[GOBGP_CONFIG]) if GOBGP_CONFIG in files else ()
    return found + (openbgpd(node_dir) if OPENBGPD_CONFIG in files else ())
