"""The tables of how FRR and BIRD are run."""

from __future__ import annotations

import json
from pathlib import Path, PurePath

import pytest

import containerlab
from containerlab import daemons, init_control, probe
from containerlab.daemons import BIRD_CONFIG, FRR_CONFIG, FRR_DAEMONS

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
    files = daemons.extra_files("r1", [FRR_CONFIG])
    assert all("hostname r1\n" in text for text in files.values())
    assert f"{NODE}/etc/frr/start.conf" in daemons.frr(NODE, "")[0].argv
    assert f"{NODE}/etc/frr" in daemons.vtysh(NODE)
    assert daemons.extra_files("r1", [BIRD_CONFIG]) == {}


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
