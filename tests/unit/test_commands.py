"""The command line as a shell sees it: exit codes, both streams, the three formats, and what is left behind."""

from __future__ import annotations

import io
import json
import os
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel

from ipam.allocator import Allocator
from ipam.new_blocks import ensure_blocks
from ipam.requests import Request
from peering.resource import Resource, parse_resource
from peering.resources.catalog import KINDS, UNDERLAY, Kind
from peering.resources.observed import RENEWAL_S, BGPNodeStatusSpec, PeerStatus
from peering.store.sqlite import SqliteStore
from tests.unit.command_line import run_underlay
from tests.unit.samples import SAMPLES, dual_tor
from tests.unit.shell import FABRIC, Shell
from underlay.columns import cell, columns_of
from underlay.output import print_table

SWITCHES = {"tor-1a": 65011, "tor-1b": 65012, "tor-2a": 65021, "tor-2b": 65022}
FORMATS: dict[str, Callable[[str], Any]] = {"json": json.loads, "yaml": yaml.safe_load}


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def read(document: dict[str, Any]) -> Resource:
    parsed = parse_resource(document)
    assert isinstance(parsed, Resource)
    return parsed


def test_apply_says_what_it_creates_and_then_that_nothing_changed(shell: Shell) -> None:
    first = shell.good("apply", "-f", FABRIC)
    assert "+ switch/tor-1a spine-1-ipv4: any AS65011 <-> 10.254.1.0 AS65000\n" in first
    assert "Rack/rack-1 created\n" in first
    second = shell.good("apply", "-f", FABRIC)
    assert re.findall(r"^(?!.* unchanged$).*$", second.strip(), re.MULTILINE) == []
    assert len(second.splitlines()) == len(dual_tor().all("Switch")) + 2 + 2 + 1


def test_apply_tells_the_sessions_that_a_change_restarts(shell: Shell) -> None:
    shell.with_nodes()
    said = shell.good("apply", "--max-loss", "25", "-f", shell.edited("Rack", "rack-1", holdTime=30))
    restarts = [line for line in said.splitlines() if "restarts: hold time" in line]
    assert {line.split()[1] for line in restarts} == {"node/node-1", "node/node-2", "switch/tor-1a", "switch/tor-1b"}
    assert said.splitlines()[-2:] == [
        "sessions: 0 added, 0 changed, 8 restart, 0 removed of 32",
        "Rack/rack-1 configured",
    ]


def test_a_dry_run_says_the_same_and_changes_nothing(shell: Shell) -> None:
    planned = shell.good("apply", "-f", FABRIC, "--dry-run")
    assert shell.data("get", "switches")["items"] == []
    done = shell.good("apply", "-f", FABRIC)
    assert planned.replace(" (dry run)", "") == done
    assert shell.good("delete", "ippool", "pods-v4", "--dry-run") == "IPPool/pods-v4 deleted (dry run)\n"
    assert len(shell.data("get", "ippools")["items"]) == 2


def test_apply_of_nothing_and_of_what_is_not_there(shell: Shell) -> None:
    assert "give at least one file or folder" in shell.misused("apply")
    assert shell.bad("apply", "-f", "/nowhere/at all") == (
        "error: /nowhere/at all: does not exist\nnothing was changed\n"
    )
    assert shell.bad("apply", "-f", "x" * 300).splitlines()[0].endswith("cannot be read: File name too long")
    (shell.folder / "empty").mkdir()
    assert "empty: holds no resource" in shell.bad("apply", "-f", str(shell.folder / "empty"))


def to_nobody(*arguments: str) -> list[str]:
    """Runs the command with a pipe that is closed already, as under `| head`; what it says on stderr."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "wb") as closed:
        command = [sys.executable, "-m", "underlay", *arguments]
        return subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, text=True).stderr.splitlines()


def test_a_reader_that_hangs_up_does_not_stop_apply_half_way(shell: Shell) -> None:
    said = to_nobody("apply", "-f", FABRIC, "--store", f"sqlite:{shell.path}")
    assert all(line.startswith("warning: Rack/") for line in said)
    assert len(shell.data("get", "switches")["items"]) == 4
    assert len(shell.data("get", "racks")["items"]) == 2


def test_a_reader_that_hangs_up_is_no_bug() -> None:
    assert to_nobody("plan", "-f", FABRIC, "-o", "json") == []


def test_what_a_rack_names_cannot_be_deleted_and_what_nobody_needs_can(shell: Shell) -> None:
    shell.with_nodes()
    said = shell.bad("delete", "switch", "tor-1a")
    assert "error: Rack/rack-1 spec.switches[0]: there is no Switch/tor-1a" in said
    assert said.endswith("nothing was changed\n")
    assert len(shell.data("get", "switches")["items"]) == 4
    said = shell.good("delete", "node", "node-2")
    assert "- node/node-2 tor-1a-ipv4: " in said
    assert "- switch/tor-1b node-2-ipv6: " in said
    assert said.endswith("Node/node-2 deleted\n")
    assert [d["metadata"]["name"] for d in shell.data("get", "nodes")["items"]] == ["node-1", "node-3", "node-4"]


def test_an_error_that_was_there_before_stops_no_other_change(shell: Shell) -> None:
    shell.with_nodes()
    rack = dual_tor().get("Rack", "rack-1")
    assert rack is not None
    broken = rack.to_document()
    broken["spec"]["switches"].append("nowhere")
    shell.put(read(broken))
    assert shell.good("apply", "-f", shell.edited("IPPool", "pods-v4", disabled=True)) == "IPPool/pods-v4 configured\n"
    assert "there is no Switch/nowhere" in shell("lint").stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("delete", "switch", "tor-9"), "error: Switch/tor-9: there is no such resource (there are: none)\n"),
        (("get", "switch", "tor-9"), "error: Switch/tor-9: there is no such resource (there are: none)\n"),
        (
            ("delete", "ipamblock", "x"),
            "error: IPAMBlock/x: is written by underlay itself and cannot be deleted\n",
        ),
        (("status", "--node", "node-9"), "error: Node/node-9: no speaker has reported a status\n"),
        (("ipam", "show", "--ip", "10.0.0.1"), "error: 10.0.0.1 is held by nobody\n"),
        (("plan", "--node", "node-9"), "error: there is no Node/node-9 (there are: none)\n"),
        (("plan", "--switch", "tor-9"), "error: there is no Switch/tor-9 (there are: none)\n"),
        (("plan", "--reflector", "rr-9"), "error: there is no RouteReflector/rr-9 (there are: none)\n"),
        (("render", "--switch", "tor-9"), "error: there is no Switch/tor-9 (there are: none)\n"),
    ],
)
def test_names_that_do_not_exist(shell: Shell, arguments: tuple[str, ...], said: str) -> None:
    assert shell.bad(*arguments) == said


#: One that ends at once, and has changed nothing, should it ever start.
SPEAKER = ("speaker", "--node", "node-1", "--run-dir", "/dev/null/run")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("get", "routers"), "'routers' is no kind; known: bgpconfigurations, "),
        (("delete", "routers", "x"), "'routers' is no kind"),
        (("get", "switches", "-o", "xml"), "'xml' is not one of 'table', 'json', 'yaml'"),
        (("ipam", "show", "--ip", "10.0.0"), "'10.0.0' is no IP address"),
        (("speaker", "--node", "Node_1"), "'Node_1' is no name of a Node"),
        ((*SPEAKER, "--cni-net-dir", "/etc/cni/net.d"), "Invalid value for --cni-net-dir: goes with --cni"),
        ((*SPEAKER, "--cni-queue", "/x"), "Invalid value for --cni-queue: goes with --cni"),
        ((*SPEAKER, "--cni-python", "/usr/bin/python3"), "Invalid value for --cni-python: goes with --cni"),
        ((*SPEAKER, "--cni", "--cni-bin-dir", "bin"), "bin is no absolute path"),
        ((*SPEAKER, "--cni", "--cni-python", "python3"), "python3 is no absolute path"),
        ((*SPEAKER, "--cni", "--cni-socket", "/" + "x" * 107), "than the 107 bytes"),
        (("controller", "--grace", "-1"), "should be greater than or equal to 0"),
        (("controller", "--leak-grace", "-1"), "should be greater than or equal to 0"),
        (("apply", "--nonsense"), "No such option"),
        (("apply", "-f", FABRIC, "--max-loss", "101"), "should be less than or equal to 100"),
        (("apply", "-f", FABRIC, "--max-loss", "half"), "should be a valid number"),
    ],
)
def test_wrong_usage(shell: Shell, arguments: tuple[str, ...], said: str) -> None:
    assert said in shell.misused(*arguments)
    assert not shell.path.exists()


@pytest.mark.parametrize(
    ("store", "said"),
    [
        ("sqlite:{folder}", "error: {folder}: [Errno 21] Is a directory: '{folder}'\n"),
        ("sqlite:{folder}/file/store.db", "error: {folder}/file/store.db: [Errno 17] File exists: "),
        ("sqlite:{folder}/file", "error: {folder}/file: file is not a database\n"),
        ("sqlite:", "error: --store: 'sqlite:' is no store (use sqlite:PATH, such as "),
        ("etcd:localhost", "error: --store: 'etcd:localhost' is no store (use sqlite:PATH, such as "),
    ],
)
@pytest.mark.parametrize(
    "command", [("get", "switches"), ("lint",), ("status",), ("ipam", "show"), ("apply", "-f", FABRIC)]
)
def test_a_store_that_is_none(tmp_path: Path, command: tuple[str, ...], store: str, said: str) -> None:
    (tmp_path / "file").write_text("this is no database, but it is long enough to be taken for one" * 20)
    result = run_underlay(*command, "--store", store.format(folder=tmp_path))
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(said.format(folder=tmp_path))


def test_get_in_three_formats(shell: Shell) -> None:
    shell.with_nodes()
    table = shell.good("get", "switches").splitlines()
    assert table[1].split()[:5] == ["NAME", "PLATFORM", "AS", "ADDRESSES", "LINK-SUBNETS"]
    assert [line.split()[:3] for line in table[3:7]] == [[name, "frr", str(asn)] for name, asn in SWITCHES.items()]
    for how, parse in FORMATS.items():
        every = parse(shell.good("get", "switches", "-o", how))
        one = parse(shell.good("get", "Switch", "tor-1b", "-o", how))
        assert every["kind"] == "List"
        assert every["items"][1] == one
        assert (one["kind"], one["metadata"]["name"], one["spec"]["asNumber"]) == ("Switch", "tor-1b", 65012)


def paths_of(model: type[BaseModel], prefix: str) -> Iterator[str]:
    """Every path into the model, as columns are written: `[*]` where another step follows a list."""
    for name, field in model.model_fields.items():
        path = f"{prefix}.{field.alias or name}"
        yield path
        inner = next((t for t in types_in(field.annotation) if issubclass(t, BaseModel)), None)
        if inner is not None:
            yield from paths_of(inner, f"{path}[*]" if "tuple" in str(field.annotation) else path)


def types_in(annotation: Any) -> Iterator[type]:
    if isinstance(annotation, type):
        yield annotation
    for part in get_args(annotation):
        yield from types_in(part)


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_every_kind_has_columns_and_they_lead_to_fields(kind: Kind) -> None:
    paths = [column.path for column in columns_of(kind)]
    assert paths
    assert set(paths) <= {*paths_of(kind.spec, ".spec"), ".metadata.labels", ".stringData"}


def test_get_shows_what_is_in_force_and_counts_what_repeats(shell: Shell) -> None:
    report(shell.with_nodes())
    nodes = shell.good("get", "nodes").splitlines()
    assert nodes[1].split() == ["NAME", "IPV4", "IPV6", "AS", "CLUSTER-ID", "UPLINKS", "LABELS"]
    assert nodes[3].split() == ["node-1", "10.0.11.1/32", "fd00:0:11::1/128", "eth1,", "eth2", "rack=rack-1"]
    racks = shell.good("get", "racks").splitlines()
    assert {"ebgp-as-per-rack", "65101", "9s"} <= set(racks[3].split()), "design is left to its default"
    (status,) = [line for line in shell.good("get", "bgpnodestatuses").splitlines() if "node-1" in line]
    assert "Established" in status
    document = {"spec": {"sessions": [{"state": "Idle"}, {"state": "Established"}, {"state": "Idle"}, {}]}}
    assert cell(document, ".spec.sessions[*].state") == "2 Idle, Established"
    assert cell(document, ".spec.nothing[*].state") == ""


def test_what_get_prints_can_be_applied(shell: Shell) -> None:
    shell.with_nodes()
    for kind in ("switches", "racks", "nodes", "ippools"):
        file = shell.folder / "again.yaml"
        file.write_text(shell.good("get", kind, "-o", "yaml"))
        assert set(shell.good("apply", "-f", str(file)).split()) & {"created", "configured"} == set()


@pytest.mark.parametrize("how", ["table", "json", "yaml"])
def test_a_secret_is_never_shown(shell: Shell, how: str) -> None:
    value = secrets.token_hex(8)
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "rack-1"}, "stringData": {"bgp": value}}
    applied = shell("apply", "-f", shell.manifest("secret.yaml", secret))
    again = shell("apply", "-f", shell.manifest("secret.yaml", {**secret, "stringData": {"bgp": value + "x"}}))
    shown = [shell("get", "secrets", "-o", how), shell("get", "secret", "rack-1", "-o", how)]
    for result in (applied, again, *shown):
        assert result.exit_code == 0
        assert value not in result.stdout + result.stderr
    assert all("bgp" in result.stdout and "(hidden)" in result.stdout for result in shown)


def test_what_cannot_be_read_in_the_store_is_told_and_the_rest_is_shown(shell: Shell) -> None:
    shell.with_nodes()

    async def spoil() -> None:
        store = SqliteStore(shell.path)
        await store.create("IPPool", "newer", {"apiVersion": "underlay.io/v9", "kind": "IPPool"})
        await store.close()

    shell.run(spoil())
    result = shell("get", "ippools", "-o", "json")
    assert result.exit_code == 0
    assert len(json.loads(result.stdout)["items"]) == 2
    assert result.stderr.startswith("error: IPPool/newer: IPPool metadata.name: is missing")


def test_plan_from_the_store_and_from_files_is_the_same(shell: Shell) -> None:
    shell.with_nodes()
    from_store = shell.data("plan")
    from_files = shell.data("plan", "-f", FABRIC, "-f", str(shell.folder / "nodes.yaml"))
    assert from_store == from_files == yaml.safe_load(shell.good("plan", "-o", "yaml"))
    assert sorted(from_store) == ["problems", "reflectors", "speakers", "switches"]
    one = shell.data("plan", "--node", "node-1")
    assert (list(one["speakers"]), one["switches"]) == (["node-1"], {})
    assert list(shell.data("plan", "--switch", "tor-1a")["switches"]) == ["tor-1a"]
    both = shell.data("plan", "--switch", "tor-1a", "--node", "node-3")
    assert (list(both["switches"]), list(both["speakers"])) == (["tor-1a"], ["node-3"])
    assert both["switches"]["tor-1a"] == from_store["switches"]["tor-1a"]


def test_plan_as_a_table_has_a_row_per_end(shell: Shell) -> None:
    shell.with_nodes()
    rows = [line.split() for line in shell.good("plan", "--node", "node-1").splitlines() if "node/" in line]
    assert [row[1] for row in rows] == ["tor-1a-ipv4", "tor-1a-ipv6", "tor-1b-ipv4", "tor-1b-ipv6"]
    assert rows[0][2:] == ["10.1.1.1", "65101", "10.1.1.0", "65011", "ebgp", "9s", "Rack/rack-1"]


REFLECTED = """
apiVersion: underlay.io/v1alpha1
kind: RouteReflector
metadata: {name: rr-1}
spec: {addresses: [10.0.99.1], asNumber: 65101, nodeSelector: "rack == 'rack-1'"}
"""


def test_plan_shows_reflectors_and_one_of_them(shell: Shell) -> None:
    shell.with_nodes()
    (shell.folder / "rr.yaml").write_text(REFLECTED)
    files = ("-f", FABRIC, "-f", str(shell.folder / "nodes.yaml"), "-f", str(shell.folder / "rr.yaml"))
    rows = [line.split() for line in shell.good("plan", *files).splitlines() if "rr-1" in line]
    assert {row[0] for row in rows} == {"reflector/rr-1", "node/node-1", "node/node-2"}
    data = shell.data("plan", *files, "--reflector", "rr-1")
    assert (list(data["reflectors"]), data["speakers"], data["switches"]) == (["rr-1"], {}, {})
    (first, *_) = [
        line.split() for line in shell.good("plan", *files, "--reflector", "rr-1").splitlines() if "rr-1" in line
    ]
    assert first[:6] == ["reflector/rr-1", "node-1-ipv4", "10.0.99.1", "65101", "10.0.11.1", "65101"]
    assert "rr-client" in first[8].split(",")
    assert data["reflectors"]["rr-1"]["sessions"][0]["rrClient"] is True
    assert shell.data("plan", *files, "--node", "node-1")["reflectors"] == {}


@pytest.mark.parametrize("sample", ["dual-tor", "dual-tor-ibgp"])
def test_the_whole_plan_fits_into_120_columns(shell: Shell, sample: str) -> None:
    shell.with_nodes()
    lines = shell.good("plan", "-f", str(SAMPLES / sample), "-f", str(shell.folder / "nodes.yaml")).splitlines()
    assert max(map(len, lines)) <= 120
    assert {"END", "SESSION", "LOCAL", "PEER", "TYPE", "HOLD", "FLAGS", "SOURCE"} <= set(lines[1].split())
    flags = {line.split()[8] for line in lines if line.startswith(" switch/tor-1a  node-")}
    assert flags == {"passive,rr-client" if sample == "dual-tor-ibgp" else "passive"}


def test_a_table_on_a_narrow_terminal_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr("sys.stdout", terminal)
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("NO_COLOR", "1")
    address = "2001:db8:1234:5678:9abc:def0:1234:5678"
    print_table("", ["A", "B"], [(address, address)])
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in terminal.getvalue().splitlines()]
    assert max(map(len, lines)) <= 60
    cells = [line.split() for line in lines[3:] if line.strip()]
    assert "".join(row[0] for row in cells) == "".join(row[1] for row in cells) == address


DUMP = """
apiVersion: crd.projectcalico.org/v1
kind: BlockAffinity
metadata: {name: node-1-10-244-0-0-26}
spec: {cidr: 10.244.0.0/26, node: node-1, state: confirmed}
"""


@pytest.mark.parametrize("command", ["plan", "lint", "render"])
def test_what_processes_wrote_is_read_from_files_and_only_apply_refuses_it(shell: Shell, command: str) -> None:
    (shell.folder / "dump.yaml").write_text(DUMP)
    shell.with_nodes()
    files = ("-f", FABRIC, "-f", str(shell.folder / "nodes.yaml"))
    dump = ("-f", str(shell.folder / "dump.yaml"))
    assert shell.good(command, *files, *dump) == shell.good(command, *files)
    assert shell.bad("apply", *files, *dump) == (
        "error: BlockAffinity/node-1-10-244-0-0-26 kind: is written by underlay itself (leave it out)\n"
        "nothing was changed\n"
    )


def test_plan_and_lint_exit_with_1_when_there_is_an_error_and_say_it(shell: Shell) -> None:
    shell.with_nodes()
    broken = shell.edited("Rack", "rack-1", switches=["nowhere"])
    for command in ("plan", "lint"):
        table = shell(command, "-f", broken)
        assert table.exit_code == 1
        assert "error: Rack/rack-1 spec.switches[0]: there is no Switch/nowhere" in table.stderr
        for how, parse in FORMATS.items():
            result = shell(command, "-f", broken, "-o", how)
            data = parse(result.stdout)
            problems = data["problems"] if command == "plan" else data
            assert result.exit_code == 1
            assert ("error", "unknown-switch") in [(p["severity"], p["code"]) for p in problems]


def test_lint_counts_and_warnings_pass(shell: Shell) -> None:
    assert shell.with_nodes().good("lint") == "0 errors, 0 warnings\n"
    result = shell("lint", "-f", FABRIC)
    assert (result.exit_code, result.stdout) == (0, "0 errors, 2 warnings\n")
    assert result.stderr.count("warning: Rack/") == 2
    assert shell.data("lint") == []


def test_render_prints_and_writes_the_same(shell: Shell) -> None:
    shell.with_nodes()
    printed = shell.good("render", "--switch", "tor-1a")
    out = shell.folder / "out"
    said = shell.good("render", "--out", str(out))
    assert len(said.splitlines()) == 4
    (file,) = (out / "tor-1a").iterdir()
    assert said.splitlines()[0] == f"{out / 'tor-1a'}: {file.name}"
    assert file.read_text() == printed
    assert sorted(folder.name for folder in out.iterdir()) == ["tor-1a", "tor-1b", "tor-2a", "tor-2b"]


@pytest.mark.parametrize(("where", "why"), [("file", "File exists"), ("file/deeper", "Not a directory")])
def test_render_to_what_is_no_folder(shell: Shell, where: str, why: str) -> None:
    shell.with_nodes()
    (shell.folder / "file").write_text("mine")
    out = shell.folder / where
    said = shell.bad("render", "--out", str(out))
    assert said == f"error: {out}: cannot be written: {why}\n"
    assert (shell.folder / "file").read_text() == "mine"


def test_a_failing_render_leaves_no_half_written_file(shell: Shell) -> None:
    shell.with_nodes()
    out = shell.folder / "out"
    shell.good("render", "--out", str(out))
    (file,) = (out / "tor-1a").iterdir()
    before = file.read_text()
    shell.good("apply", "--force", "-f", shell.edited("Switch", "tor-1a", asNumber=65019))
    file.unlink()
    file.mkdir()
    assert shell("render", "--out", str(out)).exit_code == 1
    assert [entry.name for entry in (out / "tor-1a").iterdir()] == [file.name]
    file.rmdir()
    shell.good("render", "--out", str(out))
    assert file.read_text() == before.replace("65011", "65019")


def test_render_hides_passwords_unless_they_are_asked_for(shell: Shell) -> None:
    value = secrets.token_hex(8)
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "rack-1"}, "stringData": {"bgp": value}}
    shell.with_nodes()
    shell.good("apply", "-f", shell.manifest("secret.yaml", secret))
    rack = shell.edited("Rack", "rack-1", password={"secretKeyRef": {"name": "rack-1", "key": "bgp"}})
    shell.good("apply", "--force", "-f", rack)
    out = shell.folder / "out"
    hidden = shell.good("render", "--switch", "tor-1a")
    shell.good("render", "--out", str(out))
    (file,) = (out / "tor-1a").iterdir()
    assert value not in hidden
    assert "<secret:rack-1/bgp>" in hidden
    assert (file.read_text(), file.stat().st_mode & 0o777) == (hidden, 0o644)
    said = shell.good("render", "--out", str(out), "--with-secrets")
    modes = {path.parent.name: path.stat().st_mode & 0o777 for path in out.glob("*/*")}
    assert modes == {"tor-1a": 0o600, "tor-1b": 0o600, "tor-2a": 0o644, "tor-2b": 0o644}
    assert file.read_text() == hidden.replace("<secret:rack-1/bgp>", value)
    assert value not in said


def test_render_with_a_secret_that_is_missing_writes_nothing(shell: Shell) -> None:
    shell.with_nodes()
    rack = shell.edited("Rack", "rack-1", password={"secretKeyRef": {"name": "no", "key": "bgp"}})
    shell.good("apply", "--force", "-f", rack)
    out = shell.folder / "out"
    said = shell.bad("render", "--out", str(out), "--with-secrets")
    assert "error: Switch/tor-1a" in said
    assert said.endswith("nothing was rendered\n")
    assert not out.exists()


def test_render_for_a_platform_that_nobody_knows(shell: Shell) -> None:
    shell.with_nodes()
    said = shell.bad("render", "--platform", "abacus")
    assert "spec.platform: there is no platform 'abacus'" in said
    assert said.endswith("nothing was rendered\n")
    assert shell.good("render", "--platform", "frr") == shell.good("render")


def test_render_of_a_plan_with_errors_renders_nothing(shell: Shell) -> None:
    said = shell.bad("render", "-f", shell.with_nodes().edited("Rack", "rack-1", switches=["nowhere"]))
    assert said.endswith("nothing was rendered\n")


def report(shell: Shell, *, age: float = 0, **changes: Any) -> None:
    """A status of node-1 with one session, as its speaker would write it."""
    session = {
        "session": "tor-1a-ipv4",
        "peer": "switch/tor-1a",
        "local_address": "10.1.1.1",
        "peer_address": "10.1.1.0",
        "peer_asn": 65011,
        "state": "Established",
        "since": time.time() - 3700,
        "received": 5,
        "accepted": 4,
        "announced": 2,
    }
    row = PeerStatus.model_validate(session | {k: v for k, v in changes.items() if k in PeerStatus.model_fields})
    spec = BGPNodeStatusSpec(
        node="node-1", reported=time.time() - age, sessions=(row,), problems=changes.get("problems", ())
    )
    shell.put(Resource("BGPNodeStatus", "node-1", spec))


def test_status_of_a_session_that_is_up(shell: Shell) -> None:
    report(shell)
    (line,) = [line for line in shell.good("status").splitlines() if "node-1" in line]
    assert line.split() == [
        "node-1",
        "tor-1a-ipv4",
        "10.1.1.1",
        "10.1.1.0",
        "65011",
        "Established",
        "1h01m",
        "5",
        "4",
        "2",
    ]
    for how, parse in FORMATS.items():
        (node,) = parse(shell.good("status", "--node", "node-1", "-o", how))
        assert (node["node"], node["sessions"][0]["peerASN"], node["sessions"][0]["accepted"]) == ("node-1", 65011, 4)


def test_status_exits_with_1_and_the_reason_when_a_session_is_down(shell: Shell) -> None:
    report(shell, state="Idle", reason="hold timer expired", problems=("ipam: no free block",))
    for how in ("table", "json", "yaml"):
        result = shell("status", "-o", how)
        assert result.exit_code == 1
        assert "hold timer expired" in result.stdout
    assert shell("status").stderr == "warning: Node/node-1: ipam: no free block\n"


def test_a_report_that_was_not_renewed_says_nothing_about_now(shell: Shell) -> None:
    report(shell, age=3 * RENEWAL_S - 5)
    assert shell("status").exit_code == 0
    report(shell, age=3 * RENEWAL_S + 5)
    result = shell("status", "-o", "json")
    assert result.exit_code == 1
    (node,) = json.loads(result.stdout)
    assert node["sessions"][0]["state"] == "Unknown"
    assert re.fullmatch(r"no report for 2m\d\ds: no speaker runs on the node", node["sessions"][0]["reason"])
    assert "no speaker runs on the node" in shell("status").stderr


def test_status_of_a_store_that_no_speaker_has_ever_reported_to(shell: Shell) -> None:
    for how, parse in FORMATS.items():
        result = shell("status", "-o", how)
        assert (result.exit_code, parse(result.stdout)) == (1, [])
        assert result.stderr == "error: no speaker has ever reported (0 nodes should have one)\n"
    assert shell.with_nodes()("status").stderr == "error: no speaker has ever reported (4 nodes should have one)\n"


def test_status_names_the_nodes_that_have_sessions_and_no_report(shell: Shell) -> None:
    report(shell.with_nodes())
    lonely: dict[str, Any] = {"apiVersion": UNDERLAY, "kind": "Node", "metadata": {"name": "lonely"}}
    lonely["spec"] = {"bgp": {"ipv4Address": "10.0.19.9/32"}}
    shell.good("apply", "-f", shell.manifest("lonely.yaml", lonely))
    result = shell("status")
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        f"error: Node/node-{number}: no speaker has ever reported: none runs on the node" for number in (2, 3, 4)
    ]
    assert shell("status", "--node", "node-1").exit_code == 0


def test_a_report_that_is_overdue_is_an_error_even_without_sessions(shell: Shell) -> None:
    spec = BGPNodeStatusSpec(node="node-1", reported=time.time() - 3 * RENEWAL_S - 5, problems=("ipam: no free block",))
    shell.put(Resource("BGPNodeStatus", "node-1", spec))
    result = shell("status")
    assert result.exit_code == 1
    first, second = result.stderr.splitlines()
    assert first == "warning: Node/node-1: ipam: no free block"
    assert re.fullmatch(r"error: Node/node-1: no report for 2m\d\ds: no speaker runs on the node", second)


def test_status_shows_the_sessions_of_reflectors_as_their_other_ends_report_them(shell: Shell) -> None:
    shell.with_nodes()
    for number in (1, 2):
        reflector = {
            "apiVersion": UNDERLAY, "kind": "RouteReflector", "metadata": {"name": f"rr-{number}"},
            "spec": {"addresses": [f"10.0.99.{number}"], "asNumber": 65101, "nodeSelector": "rack == 'rack-1'"},
        }  # fmt: skip
        shell.good("apply", "-f", shell.manifest("rr.yaml", reflector))
    (session,) = [
        s
        for s in shell.data("plan", "--node", "node-1")["speakers"]["node-1"]["sessions"]
        if s["peer"] == "reflector/rr-1"
    ]
    report(
        shell, session=session["name"], peer=session["peer"], local_address=session["localAddress"],
        peer_address=session["peerAddress"], peer_asn=65101,
    )  # fmt: skip
    rows = [line.split() for line in shell("status").stdout.splitlines() if " reflector/" in line]
    states = {(row[0], row[3]): row[5] for row in rows}
    assert states == {
        ("reflector/rr-1", "10.0.11.1"): "Established",
        ("reflector/rr-1", "10.0.11.2"): "Declared",
        ("reflector/rr-1", "10.0.99.2"): "Declared",
        ("reflector/rr-2", "10.0.11.1"): "Declared",
        ("reflector/rr-2", "10.0.11.2"): "Declared",
        ("reflector/rr-2", "10.0.99.1"): "Declared",
    }
    assert "reflector/" not in shell("status", "--node", "node-1").stdout.replace("reflector/rr-1", "", 1)


@pytest.fixture
def allocated(shell: Shell) -> tuple[Shell, str, str]:
    """A store in which a pod on node-1 holds two addresses."""
    shell.with_nodes()
    found: list[str] = []

    async def work() -> None:
        store = SqliteStore(shell.path)
        for name in ("node-1", "node-2"):
            await ensure_blocks(store, dual_tor().all("Node")[name], dual_tor().all("IPPool").values())
        given = await Allocator(store, "node-1").allocate(Request("node-1.pod-1", ipv4=1, ipv6=1))
        found.extend(one.address for one in given)
        await store.close()

    shell.run(work())
    return shell, found[0], found[1]


def test_ipam_show_in_three_formats(allocated: tuple[Shell, str, str]) -> None:
    shell, v4, v6 = allocated
    for how, parse in FORMATS.items():
        rows = parse(shell.good("ipam", "show", "-o", how))
        assert [(row["node"], row["state"], row["used"], row["size"]) for row in rows] == [
            ("node-1", "confirmed", 1, 64),
            ("node-1", "confirmed", 1, 64),
            ("node-2", "confirmed", 0, 64),
            ("node-2", "confirmed", 0, 64),
        ]
        assert [row["addresses"] for row in rows[:2]] == [{v4: "node-1.pod-1"}, {v6: "node-1.pod-1"}]
    table = shell.good("ipam", "show", "--node", "node-1")
    assert "1/64" in table
    assert {v4, v6, "node-1.pod-1"} <= set(table.split())
    assert "node-2" not in table
    assert "node-1.pod-1" not in shell.good("ipam", "show", "--blocks")


def test_ipam_show_of_one_address_however_it_is_written(allocated: tuple[Shell, str, str]) -> None:
    shell, v4, v6 = allocated
    for written, address in ((v4, v4), (v6, v6), (v6.upper().replace("::", ":0::"), v6)):
        (row,) = shell.data("ipam", "show", "--ip", written)
        assert (row["node"], row["addresses"]) == ("node-1", {address: "node-1.pod-1"})
    assert "is held by nobody" in shell.bad("ipam", "show", "--ip", v4, "--node", "node-2")


def test_a_bug_is_one_line_and_the_way_to_report_it(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> None:
        raise KeyError("x")

    monkeypatch.setattr("underlay.planning.compile_plan", broken)
    monkeypatch.delenv("UNDERLAY_DEBUG", raising=False)
    assert shell.bad("lint", "-f", FABRIC) == (
        "error: a bug in underlay: KeyError: 'x'\nhint: run again with UNDERLAY_DEBUG=1 and report what it prints\n"
    )
