"""The tables of how FRR, BIRD, GoBGP and OpenBGPD are run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path, PurePath

import pytest

import containerlab
from containerlab import daemons, init_control, node_files, probe
from containerlab.daemons import BIRD_CONFIG, FRR_CONFIG, FRR_DAEMONS, GOBGP_CONFIG, OPENBGPD_CONFIG
from containerlab.topology import Bind, Node

NODE = PurePath("/run/lab/nodes/r1")


def names(files: dict[str, str], has_mgmtd: bool = False) -> list[str]:
    return [daemon.name for daemon in daemons.from_files(NODE, files, has_mgmtd)]


@pytest.mark.parametrize(
    ("files", "has_mgmtd", "expected"),
    [
        ({}, False, []),
        ({"etc/hosts": "x"}, False, []),
        ({FRR_CONFIG: "router bgp 1\n"}, False, ["zebra", "bgpd"]),
        ({FRR_CONFIG: "router bgp 1\n"}, True, ["mgmtd", "zebra", "bgpd"]),
        ({FRR_CONFIG: "ip route 10.0.0.0/8 blackhole\n"}, False, ["zebra", "staticd", "bgpd"]),
        ({FRR_CONFIG: "vrf x\n ipv6 route ::/0 fe80::1 eth0\n"}, False, ["zebra", "staticd", "bgpd"]),
        ({FRR_CONFIG: "router bgp 1\nexit\nbfd\n profile x\n"}, False, ["zebra", "bfdd", "bgpd"]),
        ({FRR_CONFIG: "router bgp 1\n neighbor 10.0.0.1 bfd\n"}, False, ["zebra", "bgpd"]),
        ({FRR_CONFIG: "! ip route\n", FRR_DAEMONS: "bgpd=no\nbfdd=yes\n"}, False, ["zebra", "bfdd"]),
        ({FRR_CONFIG: "\n", FRR_DAEMONS: "bgpd=yes # why\nbfdd=\"yes\"\n"}, False, ["zebra", "bfdd", "bgpd"]),
        ({BIRD_CONFIG: ""}, False, ["bird"]),
        ({GOBGP_CONFIG: ""}, False, ["gobgpd"]),
        ({OPENBGPD_CONFIG: ""}, False, ["openbgpd"]),
    ],
)  # fmt: skip
def test_files_say_which_daemons_run(files: dict[str, str], has_mgmtd: bool, expected: list[str]) -> None:
    assert names(files, has_mgmtd) == expected


def test_frr_runs_in_the_foreground_with_everything_in_the_nodes_directory() -> None:
    zebra, bgpd = daemons.frr(NODE, "router bgp 1\n")
    assert bgpd.argv[:5] == ("/usr/lib/frr/bgpd", "-u", "frr", "-g", "frr")
    assert "-d" not in bgpd.argv
    options = dict(zip(bgpd.argv[1::2], bgpd.argv[2::2], strict=True))
    assert options["-z"] == dict(zip(zebra.argv[1::2], zebra.argv[2::2], strict=True))["-z"]
    assert {options[key].rpartition("/")[0] for key in ("-z", "-i")} == {f"{NODE}/run/frr"}
    assert options["--vty_socket"] == f"{NODE}/run/frr"
    assert bgpd.ready == (f"{NODE}/run/frr/bgpd.vty",)
    assert bgpd.post_start[-4:] == ("-b", "-n", "-d", "bgpd")


def test_bfdds_control_socket_is_the_nodes_own() -> None:
    (bfdd,) = [daemon for daemon in daemons.frr(NODE, "bfd\n") if daemon.name == "bfdd"]
    assert bfdd.argv[bfdd.argv.index("--bfdctl") + 1] == f"{NODE}/run/frr/bfdd.sock"


def test_the_configuration_is_not_given_to_a_daemon_as_its_own() -> None:
    """A daemon stops reading at the `exit` of the first section that it does not know."""
    for daemon in daemons.frr(NODE, "router bgp 1\n"):
        assert f"{NODE}/{FRR_CONFIG}" not in daemon.argv


def test_vtysh_and_daemons_agree_on_the_host_name() -> None:
    files = daemons.extra_files("r1", [FRR_CONFIG], NODE)
    assert all("hostname r1\n" in text for text in files.values())
    assert f"{NODE}/etc/frr/start.conf" in daemons.frr(NODE, "")[0].argv
    assert f"{NODE}/etc/frr" in daemons.vtysh(NODE)
    assert daemons.extra_files("r1", [BIRD_CONFIG], NODE) == {}


def test_reload_is_of_the_node_and_of_nobody_else() -> None:
    assert daemons.frr_reload(NODE)[1] == "--reload"
    assert daemons.frr_reload_diff(NODE)[1] == "--test"
    for option in ("--vty_socket", "--confdir", "--rundir"):
        argv = daemons.frr_reload(NODE)
        assert argv[argv.index(option) + 1].startswith(str(NODE))
    assert daemons.bird_reload(NODE) == ("birdc", "-s", f"{NODE}/run/bird/bird.ctl", "configure")


@pytest.mark.parametrize(
    ("path", "owner"),
    [
        ("etc/frr/frr.conf", "frr"),
        ("etc/frr", "frr"),
        ("run/bird/x", "bird"),
        ("etc/hosts", "root"),
        ("etc", "root"),
    ],
)
def test_files_belong_to_who_reads_them(path: str, owner: str) -> None:
    assert daemons.owner(path) == owner


def test_a_daemon_goes_to_init_as_json() -> None:
    daemon = daemons.Daemon(name="x", argv=("a", "b"), env={"K": "v"}, ready=("/r",))
    assert json.loads(json.dumps(daemon.to_json())) == {
        "name": "x", "argv": ["a", "b"], "env": {"K": "v"}, "cwd": None, "user": None,
        "ready": ["/r"], "post_start": []}  # fmt: skip


def test_programs_started_by_path_import_nothing_of_ours() -> None:
    """They run with -I in a namespace, where no package of ours can be found."""
    for module in (init_control.NODE_INIT, Path(probe.__file__)):
        source = module.read_text(encoding="utf-8")
        assert not any(
            f"{word} {room}" in source for word in ("import", "from") for room in ("containerlab", "peering")
        )


def test_spines_and_edge_take_a_tor_that_changes_its_as() -> None:
    folder = Path(containerlab.__file__).parent / "configs"
    for number in (1, 2):
        text = (folder / f"spine-{number}/frr.conf").read_text(encoding="utf-8")
        assert "remote-as external" in text
        assert not [
            line for line in text.splitlines() if "remote-as" in line and "external" not in line and "!" not in line
        ]


def test_gobgp_is_told_its_networks_after_each_start() -> None:
    """Its file has no place for them; a rendered one says them in its head."""
    config = "# Say after each start: gobgp global rib add 10.0.1.1/32 -a ipv4\n# other\nglobal: {}\n"
    (daemon,) = daemons.from_files(NODE, {GOBGP_CONFIG: config})
    socket = f"{NODE}/run/gobgp/api.sock"
    assert daemon.ready == (socket,)
    assert f"unix://{socket}" in daemon.argv
    assert daemon.post_start == ("sh", "-c", f"gobgp --target unix://{socket} global rib add 10.0.1.1/32 -a ipv4")
    assert daemons.from_files(NODE, {GOBGP_CONFIG: "global: {}\n"})[0].post_start == ()


def test_openbgpd_has_a_socket_of_the_nodes_own() -> None:
    """All nodes share a file system, and its usual place is one for all."""
    (daemon,) = daemons.from_files(NODE, {OPENBGPD_CONFIG: "AS 1\n"})
    files = daemons.extra_files("r1", [OPENBGPD_CONFIG], NODE)
    ((path, text),) = files.items()
    assert f"{NODE}/{path}" in daemon.argv[-1]
    assert text == f'socket "{daemon.ready[0]}"\ninclude "{NODE}/{OPENBGPD_CONFIG}"\n'
    assert daemon.ready[0] in daemons.bgpctl(NODE)


def test_every_file_of_a_daemon_can_be_checked_and_read_again() -> None:
    files = {FRR_CONFIG, BIRD_CONFIG, GOBGP_CONFIG, OPENBGPD_CONFIG}
    assert daemons.CHECKS.keys() == daemons.RELOADS.keys() == files
    assert all(str(NODE) in " ".join(reload(NODE)) for reload in daemons.RELOADS.values())
    assert daemons.clients(NODE).keys() == {"vtysh", "birdc", "gobgp", "bgpctl"}
    assert {daemons.owner(file) for file in files} == {"frr", "bird", "root"}


def test_binds_are_read_where_a_daemon_looks(tmp_path: Path) -> None:
    """A folder that is for a container only, such as a store, may be missing or no text."""
    (tmp_path / "frr.conf").write_text("x")
    binds = (Bind("frr.conf", "/etc/frr/frr.conf"), Bind("store", "/var/lib/underlay"), Bind("frr.conf", "/etc/hosts"))
    node = Node("r1", "linux", "", "", binds, (), {}, {}, {})
    assert node_files.read_binds(node, tmp_path) == ({FRR_CONFIG: "x"}, ())
    (problem,) = node_files.read_binds(replace(node, binds=(Bind("no", "/etc/bird/bird.conf"),)), tmp_path)[1]
    assert problem.code == "bind-unreadable"
