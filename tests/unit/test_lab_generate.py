"""`underlay lab generate`: the lab is the declared fabric, whole, on every kind of switch."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from containerlab import startup
from containerlab.blueprint import LabNode, natural
from containerlab.kinds import KINDS, kind_of
from containerlab.topology_file import load_topology
from fabric_templates.devices import names as platforms
from fabric_templates.render import render
from peering.compile import plan
from peering.manifests import read_manifests
from peering.snapshot import Snapshot
from tests.unit.clab_schema import OURS, load
from tests.unit.command_line import run_underlay
from tests.unit.lab_declarations import Document, blueprint, documents, dual_tor, generate, made, of, snapshot_of

WHOLE = ("as-per-node", "bfd", "loopbacks", "rack-aggregate", "shared-subnet", "unnumbered")


# The lab is the fabric


@pytest.mark.parametrize("sample", [*WHOLE, "dual-tor"])
def test_our_reader_and_containerlab_take_the_topology(tmp_path: Path, sample: str) -> None:
    files = made(tmp_path, dual_tor() if sample == "dual-tor" else documents(sample))
    topology, problems = load_topology(files["lab.clab.yml"], "lab.clab.yml")
    assert topology is not None
    assert {problem.severity for problem in problems} <= {"info"}
    assert [e.message for e in load(OURS).iter_errors(yaml.safe_load(files["lab.clab.yml"]))] == []
    binds = [bind for node in topology.nodes.values() for bind in node.binds if bind.target.startswith("/etc/")]
    assert binds
    assert [bind.source for bind in binds if bind.source not in files] == []


@pytest.mark.parametrize("sample", ["as-per-node", "bfd", "rack-aggregate", "shared-subnet", "dual-tor"])
def test_both_addresses_of_every_planned_session_are_on_one_wire(sample: str) -> None:
    found, compiled = blueprint(dual_tor() if sample == "dual-tor" else documents(sample))
    wires = {frozenset((wire.a[0], wire.b[0])) for wire in found.wires}
    owner = {str(ipaddress.ip_interface(a).ip): name for name, node in found.nodes.items() for a in addresses(node)}
    seen = 0
    for switch, switch_plan in compiled.switches.items():
        for session in switch_plan.sessions:
            far = owner[session.peer_address]
            assert frozenset((switch, far)) in wires
            assert session.local_address is None or owner[session.local_address] == switch
            assert session.peer in ("external", f"node/{far}", f"switch/{far}")
            seen += 1
    for node, speaker in compiled.speakers.items():
        for session in speaker.sessions:
            assert owner[session.local_address or ""] == node
            assert f"switch/{owner[session.peer_address]}" == session.peer
            seen += 1
    assert seen >= 6


def addresses(node: LabNode) -> Iterator[str]:
    yield from (*node.loopbacks, *node.bridge, *(a for port in node.ports for a in port.addresses))


@pytest.mark.parametrize("sample", ["rack-aggregate", "dual-tor"])
def test_the_ends_of_a_wire_are_in_one_subnet_and_every_address_is_somebodys_alone(sample: str) -> None:
    found, _ = blueprint(dual_tor() if sample == "dual-tor" else documents(sample))
    ports = {(name, port.name): port for name, node in found.nodes.items() for port in node.ports}
    assert len(ports) == 2 * len(found.wires)
    for wire in found.wires:
        near, far = ([ipaddress.ip_interface(a) for a in ports[end].addresses] for end in (wire.a, wire.b))
        assert [a.network for a in near] == [a.network for a in far]
    given = [ipaddress.ip_interface(a).ip for node in found.nodes.values() for a in addresses(node)]
    assert len(given) == len(set(given)) > 0


def test_a_spine_speaks_to_every_switch_with_what_is_declared(tmp_path: Path) -> None:
    declared = dual_tor()
    of(declared, "Switch", "tor-2b")["fabricPeers"][0]["holdTime"] = "30s"
    text = made(tmp_path, declared)["configs/lab/spine-1/frr.conf"]
    said = dict(re.findall(r"^ neighbor (\S+) remote-as (\d+)$", text, re.MULTILINE))
    assert said == {
        f"{address}{end}": asn
        for address in ("10.254.1.", "fd00:fe:1::")
        for end, asn in (("1", "65011"), ("3", "65012"), ("5", "65021"), ("7", "65022"))
    } | {"198.18.0.1": "65500", "2001:2::1": "65500"}
    assert "router bgp 65000\n" in text
    assert " neighbor 10.254.1.7 timers 10 30\n" in text
    assert " neighbor 10.254.1.5 timers 3 9\n" in text


def test_the_edge_takes_an_as_that_nobody_has(tmp_path: Path) -> None:
    declared = dual_tor()
    of(declared, "Rack", "rack-1")["nodeASNumber"] = 65500
    of(declared, "Switch", "tor-1a")["asNumber"] = 65499
    for name in ("tor-1a", "tor-1b", "tor-2a", "tor-2b"):
        for peer in of(declared, "Switch", name)["fabricPeers"]:
            peer["asNumber"] = 65498
    files = made(tmp_path, declared)
    assert "router bgp 65497\n" in files["configs/lab/edge/frr.conf"]
    assert " neighbor 198.18.0.1 remote-as 65497\n" in files["configs/lab/spine-1/frr.conf"]


def test_a_reflector_in_a_switchs_subnet_is_wired(tmp_path: Path) -> None:
    declared = documents("shared-subnet")
    reflector = {"apiVersion": "underlay.io/v1alpha1", "kind": "RouteReflector", "metadata": {"name": "rr-1"}}
    declared.append({**reflector, "spec": {"addresses": ["10.1.1.21/24"], "asNumber": 65001}})
    topology, _ = load_topology(made(tmp_path, declared)["lab.clab.yml"], "")
    assert topology
    assert [node.name for node in topology.in_group("reflector")] == ["rr-1"]
    assert topology.nodes["rr-1"].exec == ("ip addr add 10.1.1.21/24 dev eth1",)
    assert ("rr-1", "tor-1a") in [(link.b.node, link.a.node) for link in topology.links]


def test_names_that_are_no_names_of_containers_are_made_so(tmp_path: Path) -> None:
    declared = documents("rack-aggregate")
    for name in ("tor-1a", "tor-1b"):
        for peer in of(declared, "Switch", name)["fabricPeers"]:
            peer["name"] = peer["name"].replace("spine-1", "Spine 1 (DC2)")
    assert "configs/lab/Spine-1-DC2/frr.conf" in made(tmp_path, declared)


def test_interfaces_of_nodes_stay_but_for_those_that_cannot(tmp_path: Path) -> None:
    declared = documents("as-per-node")
    uplinks = of(declared, "Node", "node-1")["uplinks"]
    uplinks[0]["interface"], uplinks[1]["interface"] = "eth0", "enp65s0f1np1"
    topology, _ = load_topology(made(tmp_path, declared)["lab.clab.yml"], "")
    assert topology
    assert topology.interfaces("node-1") == ("eth1", "enp65s0f1np1")
    assert "ip addr add 10.1.1.1/31 dev eth1" in topology.nodes["node-1"].exec


def test_the_order_of_resources_makes_no_difference(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "other")]
    for folder in folders:
        folder.mkdir()
    assert made(folders[0], dual_tor()) == made(folders[1], dual_tor()[::-1])


def test_names_are_sorted_as_people_count() -> None:
    assert sorted(["node-10", "node-2", "a", "node-2b"], key=natural) == ["a", "node-2", "node-2b", "node-10"]


# Kinds


@pytest.mark.parametrize(
    ("kind", "number", "port", "device"),
    [
        ("frr", 3, "eth3", "eth3"),
        ("ceos", 1, "eth1", "Ethernet1"),
        ("ceos", 12, "eth12", "Ethernet12"),
        ("srlinux", 1, "e1-1", "ethernet-1/1"),
        ("srlinux", 10, "e1-10", "ethernet-1/10"),
        ("sonic", 1, "eth1", "Ethernet0"),
        ("sonic", 4, "eth4", "Ethernet12"),
    ],
)
def test_a_port_has_two_names(kind: str, number: int, port: str, device: str) -> None:
    assert (KINDS[kind].port_name(number), KINDS[kind].device_name(number)) == (port, device)


def test_kinds_are_found_by_platform() -> None:
    assert kind_of("srlinux@24.10") == "srlinux"
    assert kind_of("eos") == "ceos"
    assert kind_of("nxos") is None
    assert {kind.platform for kind in KINDS.values()} <= set(platforms())


@pytest.mark.parametrize(
    ("kind", "file", "declared_kind", "port"),
    [
        ("ceos", "startup-config.cfg", "arista_ceos", "eth3"),
        ("srlinux", "startup-config.cli", "nokia_srlinux", "e1-3"),
        ("sonic", "config_db.json", "sonic-vm", "eth3"),
    ],
)
def test_other_kinds_have_the_same_fabric(tmp_path: Path, kind: str, file: str, declared_kind: str, port: str) -> None:
    files = made(tmp_path, dual_tor(), "--kind", kind, "--image", f"{kind}=of/mine:1", "--image", "node=n:2")
    topology = yaml.safe_load(files["lab.clab.yml"])["topology"]
    groups = {name: group for name, group in topology["groups"].items() if group["kind"] != "linux"}
    (group,) = groups.values()
    assert group == {
        "kind": declared_kind,
        "image": "of/mine:1",
        "startup-config": f"configs/lab/__clabNodeName__/{file}",
    }
    assert topology["groups"]["k8s-node"]["image"] == "n:2"
    assert topology["nodes"]["tor-1a"] == {"group": next(iter(groups))}
    assert {"node": "tor-1a", "interface": port} in [end for link in topology["links"] for end in link["endpoints"]]
    assert f"configs/lab/tor-2b/{file}" in files
    mtus = {(e[0]["node"], e[1]["node"]): link["mtu"] for link in topology["links"] if (e := link["endpoints"])}
    assert mtus["tor-1a", "node-1"] == 1500
    assert mtus["spine-1", "edge"] == 9000


def ports_of(name: str, kind: str) -> tuple[LabNode, dict[str, tuple[str, ...]]]:
    node = blueprint(dual_tor(), kind)[0].nodes[name]
    return node, {port.device: port.addresses for port in node.ports}


def test_ceos_gets_its_addresses(tmp_path: Path) -> None:
    text = made(tmp_path, dual_tor(), "--kind", "ceos")["configs/lab/tor-1a/startup-config.cfg"]
    node, ports = ports_of("tor-1a", "ceos")
    read: dict[str, tuple[str, ...]] = {}
    for part in re.split(r"^interface ", text, flags=re.MULTILINE)[1:]:
        head, _, body = part.partition("\n")
        read[head] = tuple(re.findall(r"^   ip(?:v6)? address (\S+)$", body, re.MULTILINE))
    assert read == {**ports, "Loopback0": node.loopbacks}
    assert text.count("no switchport") == 4
    assert text.endswith(render_of("tor-1a", "eos"))


def render_of(name: str, platform: str) -> str:
    compiled = plan(snapshot_of(dual_tor()))
    (text,) = render(name, replace(compiled.switches[name], platform=platform)).values()
    return text


def test_sonic_gets_one_whole_database(tmp_path: Path) -> None:
    tables = json.loads(made(tmp_path, dual_tor(), "--kind", "sonic")["configs/lab/tor-1a/config_db.json"])
    node, ports = ports_of("tor-1a", "sonic")
    assert tables["INTERFACE"].keys() == {f"{d}|{a}" for d, given in ports.items() for a in given} | ports.keys()
    assert tables["LOOPBACK_INTERFACE"].keys() == {"Loopback0", *(f"Loopback0|{a}" for a in node.loopbacks)}
    assert tables["DEVICE_METADATA"]["localhost"]["frr_mgmt_framework_config"] == "true"
    assert tables["PORT"].keys() == ports.keys()
    for table, rows in json.loads(render_of("tor-1a", "sonic")).items():
        assert tables[table] == rows


def test_a_switch_is_by_default_what_it_is_with_its_release_and_settings(tmp_path: Path) -> None:
    declared = dual_tor()
    settings = [{"name": "networkInstance", "value": "fabric"}]
    of(declared, "Switch", "tor-1a").update(platform="srlinux@24.7", settings=settings)
    of(declared, "Switch", "tor-1b").update(platform="eos", settings=[{"name": "loopback", "value": "Loopback7"}])
    of(declared, "Switch", "tor-2a").update(platform="openbgpd")
    files = made(tmp_path, declared)
    srlinux = files["configs/lab/tor-1a/startup-config.cli"]
    assert "set / network-instance fabric type ip-vrf\n" in srlinux
    assert "send-community standard true" in srlinux  # since 25.3 it is said in another way
    assert "interface Loopback7\n   ip address 10.0.1.2/32\n" in files["configs/lab/tor-1b/startup-config.cfg"]
    assert {path.split("/")[2] for path in files if path.endswith("frr.conf")} == {
        "spine-1",
        "spine-2",
        "edge",
        "tor-2b",
    }
    stand_in = made(tmp_path, declared, "--kind", "bird", "--name", "other")
    assert {path.split("/")[2] for path in stand_in if path.endswith("bird.conf")} == {
        "tor-1a",
        "tor-1b",
        "tor-2a",
        "tor-2b",
    }


def test_every_port_of_sonic_has_lanes_of_its_own() -> None:
    lanes = [lane for n in range(32) for lane in startup._sonic_port(f"Ethernet{4 * n}")["lanes"].split(",")]
    assert sorted(map(int, lanes)) == list(range(1, 129))


# Files


def with_secret() -> list[Document]:
    declared = documents("as-per-node")
    of(declared, "Rack", "rack-1")["password"] = {"secretKeyRef": {"name": "bgp", "key": "rack"}}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "bgp"}, "stringData": {"rack": "hunter2!"}}
    return [*declared, secret]


def test_passwords_are_placeholders_and_the_same_ones_at_both_ends(tmp_path: Path) -> None:
    files = made(tmp_path, with_secret())
    assert "hunter2!" not in "".join(files.values())
    assert " password <secret:bgp/rack>\n" in files["configs/lab/tor-1a/frr.conf"]
    declared, problems = read_manifests([tmp_path / "lab/configs/lab/declaration.yaml"])
    assert problems == []
    (secret,) = [r.to_document() for r in declared if r.kind == "Secret"]
    assert secret["stringData"] == {"rack": "<secret:bgp/rack>"}


def test_real_passwords_are_for_their_owner_only(tmp_path: Path) -> None:
    files = made(tmp_path, with_secret(), "--with-secrets")
    holding = {path for path, text in files.items() if "hunter2!" in text}
    assert holding == {"configs/lab/declaration.yaml", "configs/lab/tor-1a/frr.conf", "configs/lab/tor-1b/frr.conf"}
    modes = {path: (tmp_path / "lab" / path).stat().st_mode & 0o777 for path in files}
    assert {modes[path] for path in holding} == {0o600}
    assert modes["lab.clab.yml"] == 0o644


def test_the_declaration_that_goes_with_it_gives_the_same_plan(tmp_path: Path) -> None:
    made(tmp_path, dual_tor())
    resources, problems = read_manifests([tmp_path / "lab/configs/lab/declaration.yaml"])
    assert problems == []
    assert plan(Snapshot(resources)).to_json() == plan(snapshot_of(dual_tor())).to_json()


def test_a_second_generation_replaces_the_first_and_leaves_other_files(tmp_path: Path) -> None:
    made(tmp_path, dual_tor())
    (tmp_path / "lab/README").write_text("mine")
    fewer = [d for d in dual_tor() if d["metadata"]["name"] != "node-4"]
    files = made(tmp_path, fewer)
    assert files["README"] == "mine"
    assert "node-4" not in files["lab.clab.yml"]


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "lab").write_text("a file")
    result = generate(tmp_path, dual_tor())
    assert result.exit_code == 1
    assert "cannot be written" in result.stderr


def test_from_a_store(tmp_path: Path) -> None:
    file, url = tmp_path / "declared.yaml", f"sqlite:{tmp_path}/store.db"
    file.write_text(yaml.safe_dump_all(documents("as-per-node")))
    assert run_underlay("apply", "-f", str(file), "--store", url).exit_code == 0
    result = run_underlay("lab", "generate", "--store", url, "--out", str(tmp_path / "live"))
    assert result.exit_code == 0, result.stderr
    assert (tmp_path / "live/live.clab.yml").exists()
