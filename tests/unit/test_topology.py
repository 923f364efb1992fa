"""The reader of `.clab.yml`: inheritance, every mistake with its place, and the topologies that are written by hand."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import containerlab
from containerlab.topology import DEFAULT_MTU, Bind, Endpoint, Link, Topology
from containerlab.topology_file import load_topology
from containerlab.wiring import rewire
from peering.problems import Problem

FOLDER = Path(containerlab.__file__).parent
SHIPPED = ("dual-tor", "dual-tor-ibgp", "as-per-cluster")

SMALL = """
name: lab
topology:
  defaults:
    kind: linux
    env: {A: defaults, B: defaults, N: 1, T: true}
    exec: [echo defaults]
    binds: ["d.conf:/etc/d.conf", "common:/etc/x.conf"]
    sysctls: {net.ipv4.ip_forward: 0}
  kinds:
    linux:
      image: some:image
      env: {B: kind, C: kind}
      exec: [echo kind, echo defaults]
      group: g
  groups:
    g:
      env: {C: group, D: group}
      labels: {role: group}
      binds: ["configs/__clabNodeName__.conf:/etc/x.conf:ro"]
  nodes:
    a:
      env: {D: node}
      exec: [echo __clabNodeName__]
      sysctls: {net.ipv4.ip_forward: 1}
    b:
  links:
    - endpoints: ["a:eth1", "b:eth1"]
    - type: veth
      mtu: 9000
      endpoints: [{node: a, interface: eth2}, {node: b, interface: eth2}]
"""


def load(text: str) -> Topology:
    topology, problems = load_topology(text, "t.clab.yml")
    assert topology is not None, [problem.line() for problem in problems]
    return topology


def problems_of(text: str) -> tuple[Problem, ...]:
    return load_topology(text, "t.clab.yml")[1]


def test_a_node_inherits_from_defaults_kind_group_in_that_order() -> None:
    node = load(SMALL).nodes["a"]
    assert node.env == {"A": "defaults", "B": "kind", "C": "group", "D": "node", "N": "1", "T": "true"}
    assert node.exec == ("echo defaults", "echo kind", "echo a")
    assert node.binds == (Bind("d.conf", "/etc/d.conf"), Bind("configs/a.conf", "/etc/x.conf", "ro"))
    assert node.sysctls == {"net.ipv4.ip_forward": "1"}
    assert (node.kind, node.group, node.image) == ("linux", "g", "some:image")


def test_a_node_without_a_body_inherits_all_the_same() -> None:
    node = load(SMALL).nodes["b"]
    assert node.labels == {"role": "group"}
    assert node.sysctls == {"net.ipv4.ip_forward": "0"}


def test_a_group_gives_the_kind() -> None:
    text = "groups: {g: {kind: linux}}, kinds: {linux: {env: {A: kind}}}, nodes: {n: {group: g}}"
    assert load(f"{{name: l, topology: {{{text}}}}}").nodes["n"].env == {"A": "kind"}


def test_both_forms_of_a_link() -> None:
    assert load(SMALL).links == (
        Link(Endpoint("a", "eth1"), Endpoint("b", "eth1"), DEFAULT_MTU),
        Link(Endpoint("a", "eth2"), Endpoint("b", "eth2"), 9000),
    )
    assert load(SMALL).interfaces("b") == ("eth1", "eth2")


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [("", "clab-lab-a"), ("prefix: ''", "a"), ("prefix: __lab-name", "lab-a"), ("prefix: x", "x-lab-a")],
)
def test_namespaces_are_named_like_containers(prefix: str, expected: str) -> None:
    assert load(f"{prefix}{SMALL}").namespace("a") == expected


def link(*ends: str, more: str = "") -> str:
    return f"{ONE}  links: [{{{more}endpoints: {list(ends)}}}]"


ONE = "name: l\ntopology:\n  nodes:\n    a: {kind: linux}\n    b: {kind: linux}\n"
MISTAKES: dict[str, tuple[str, str, str, str]] = {
    # name: (text, code, path, part of the line)
    "yaml": ("name: l\n  x: [", "yaml", "line 2 column 4", ""),
    "no map": ("- 1", "yaml", "", "not a map"),
    "empty": ("", "yaml", "", "not a map"),
    "twice": (ONE + "    a: {kind: linux}\n", "yaml", "line 6 column 5", "'a' is written twice"),
    "bad date": ("name: 2020-99-99", "yaml", "", ""),
    "deep": ("[" * 20000, "yaml", "", ""),
    "odd key": ("? [a]\n: 1\n", "yaml", "line 1 column 3", "unhashable"),
    "no name": ("topology: {nodes: {a: {kind: linux}}}", "bad-name", "name", ""),
    "slash in name": ("name: a/b\ntopology: {nodes: {a: {kind: linux}}}", "bad-name", "name", ""),
    "no topology": ("name: l", "missing-key", "topology", ""),
    "no nodes": ("name: l\ntopology: {}", "missing-key", "topology.nodes", ""),
    "node name": (ONE + "    'x y': {kind: linux}", "bad-name", "topology.nodes.x y", ""),
    "root key": (ONE + "topolgy: {}", "unknown-key", "topolgy", "did you mean 'topology'?"),
    "node key": (ONE + "    c: {kind: linux, sysctl: {}}", "unknown-key", "topology.nodes.c.sysctl", "'sysctls'?"),
    "no kind": (ONE + "    c: {}", "unsupported-kind", "topology.nodes.c.kind", "no kind"),
    "kind": (ONE + "    c: {kind: arista_ceos}", "unsupported-kind", "topology.nodes.c.kind", "arista_ceos"),
    "exec is text": (ONE + "    c: {kind: linux, exec: ls}", "wrong-value", "topology.nodes.c.exec", ""),
    "exec colon": (ONE + "    c: {kind: linux, exec: [{a: null}]}", "wrong-value", "topology.nodes.c.exec[0]",
                   "quotes"),
    "exec quote": (ONE + "    c: {kind: linux, exec: ['a \"']}", "bad-exec", "topology.nodes.c.exec[0]", "quote"),
    "bind": (ONE + "    c: {kind: linux, binds: ['a:b']}", "bad-bind", "topology.nodes.c.binds[0]", "absolute"),
    "bind out": (ONE + "    c: {kind: linux, binds: ['a:/../b']}", "bad-bind", "topology.nodes.c.binds[0]", ""),
    "magic": (ONE + "    c: {kind: linux, binds: ['__clabNodeDir__/a:/b']}", "unsupported-magic",
              "topology.nodes.c.binds[0]", "__clabNodeName__"),
    "sysctl": (ONE + "    c: {kind: linux, sysctls: {kernel.x: 1}}", "bad-sysctl", "topology.nodes.c.sysctls", ""),
    "sysctl out": (ONE + "    c: {kind: linux, sysctls: {net/../../x: 1}}", "bad-sysctl",
                   "topology.nodes.c.sysctls", ""),
    "node is a list": (ONE + "    c: [1]", "wrong-value", "topology.nodes.c", ""),
    "links is text": (ONE + "  links: x", "wrong-value", "topology.links", ""),
    "unknown node": (ONE + "  links: [{endpoints: ['a:eth1', 'bb:eth1']}]", "unknown-node",
                     "topology.links[0].endpoints[1]", "did you mean 'b'?"),
    "used twice": (ONE + "  links: [{endpoints: ['a:e1', 'b:e1']}, {endpoints: ['a:e1', 'b:e2']}]",
                   "interface-used-twice", "topology.links[1].endpoints[0]", "topology.links[0]"),
    "to itself": (ONE + "  links: [{endpoints: ['a:e1', 'a:e1']}]", "interface-used-twice",
                  "topology.links[0].endpoints[1]", ""),
    "one end": (link("a:e1"), "wrong-value", "topology.links[0].endpoints[1]", ""),
    "no colon": (link("a", "b:e1"), "wrong-value", "topology.links[0].endpoints[0]", ""),
    "long name": (link("a:abcdefghijklmnop", "b:e1"), "bad-interface",
                  "topology.links[0].endpoints[0]", "15 characters"),
    "lo": (link("a:lo", "b:e1"), "bad-interface", "topology.links[0].endpoints[0]", ""),
    "mtu": (link("a:e1", "b:e1", more="mtu: 70000, "), "bad-mtu", "topology.links[0].mtu", "65535"),
    "mtu text": (link("a:e1", "b:e1", more="mtu: big, "), "wrong-value", "topology.links[0].mtu", ""),
    "link type": (ONE + "  links: [{type: macvlan, endpoints: ['a:e1', 'b:e1']}]", "wrong-value",
                  "topology.links[0].type", "veth"),
    "link key": (ONE + "  links: [{endpoint: ['a:e1', 'b:e1']}]", "unknown-key", "topology.links[0].endpoint",
                 "'endpoints'?"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_with_its_place(mistake: str) -> None:
    text, code, path, part = MISTAKES[mistake]
    topology, problems = load_topology(text, "t.clab.yml")
    assert topology is None
    found = [problem for problem in problems if problem.severity == "error" and problem.code == code]
    assert [problem for problem in found if problem.path == path and part in problem.line()], problems
    assert all(problem.object == "t.clab.yml" and "\n" not in problem.line() for problem in problems)


def test_mistakes_are_told_together() -> None:
    text = ONE + "    c: {}\n  links: [{mtu: 1, endpoints: ['x:e1', 'y:e1']}]"
    assert {problem.code for problem in problems_of(text)} == {"unsupported-kind", "bad-mtu", "unknown-node"}


def test_what_has_no_effect_is_told_and_passes() -> None:
    text = "mgmt: {network: x}\n" + ONE + "    c: {kind: linux, image: i, ports: ['1:1'], startup-config: x}\n"
    topology, problems = load_topology(text, "t.clab.yml")
    assert topology is not None
    assert topology.nodes["c"].image == "i"
    assert {(problem.severity, problem.path) for problem in problems} == {
        ("info", path)
        for path in ("mgmt", *(f"topology.nodes.c.{key}" for key in ("image", "ports", "startup-config")))
    }


def test_doubtful_values_are_warnings() -> None:
    text = (
        ONE
        + "    c: {kind: linux, group: tro}\n  groups: {tor: {}}\n"
        + "  links: [{mtu: 999, endpoints: ['a:eth0', 'b:e']}]"
    )
    topology, problems = load_topology(text, "t.clab.yml")
    assert topology is not None
    assert {problem.code: problem.severity for problem in problems} == {
        "unknown-group": "warning", "mtu-below-ipv6": "warning", "management-interface": "warning"}  # fmt: skip


def namespace(node: str) -> str:
    return f"ns-{node}"


def test_wiring_makes_only_what_is_missing() -> None:
    links = load(SMALL).links
    nothing = rewire(links, (), {}, namespace)
    assert nothing.add[1] == "link add eth2 mtu 9000 netns ns-a type veth peer name eth2 mtu 9000 netns ns-b"
    assert nothing.new == {"a": ("eth1", "eth2"), "b": ("eth1", "eth2")}
    present = {"a": {"lo": 65536, "eth1": 9500, "eth2": 9000}, "b": {"eth1": 9500, "eth2": 9000}}
    done = rewire(links, links, present, namespace)
    assert (done.add, done.delete, done.mtu, done.new) == ((), {}, {}, {})


def test_wiring_removes_only_what_was_ours() -> None:
    links = load(SMALL).links
    present = {"a": {"eth1": 9500, "eth2": 9000, "veth7": 1500}, "b": {"eth1": 1400}}
    plan = rewire(links[:1], links, present, namespace)
    assert plan.delete == {"a": ("eth2",)}
    assert plan.mtu == {"b": ("link set eth1 mtu 9500",)}
    taken = rewire(links, links[:1], present, namespace)
    assert taken.delete == {"a": ("eth2",)}
    assert taken.new == {"a": ("eth2",), "b": ("eth2",)}


# The shipped topologies


def shipped(name: str) -> Topology:
    file = FOLDER / f"{name}.clab.yml"
    topology, problems = load_topology(file.read_text(encoding="utf-8"), file.name)
    assert topology is not None, problems
    assert {problem.severity for problem in problems} <= {"info"}
    return topology


def written(name: str) -> dict[str, Any]:
    """The file, with the folder that is its own told by the same word in all of them."""
    text = (FOLDER / f"{name}.clab.yml").read_text(encoding="utf-8").replace(f"configs/{name}/", "configs/OWN/")
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded


def test_the_ibgp_lab_has_the_same_wires_and_addresses() -> None:
    """What differs is the declaration; the format knows no inclusion, so the file is a copy."""
    first, *others = (written(name) for name in SHIPPED)
    assert tuple(one.pop("name") for one in (first, *others)) == SHIPPED
    assert others == [first] * len(others)


@pytest.mark.parametrize("name", SHIPPED)
def test_binds_of_shipped_files_exist(name: str) -> None:
    binds = [bind for node in shipped(name).nodes.values() for bind in node.binds]
    assert binds
    assert [bind.source for bind in binds if not (FOLDER / bind.source).is_file()] == []


def addresses(topology: Topology) -> Iterator[tuple[Endpoint, ipaddress.IPv4Interface | ipaddress.IPv6Interface]]:
    for node in topology.nodes.values():
        for line in node.exec:
            words = line.split()
            yield Endpoint(node.name, words[-1]), ipaddress.ip_interface(words[-3])


def test_addresses_follow_the_plan() -> None:
    topology = shipped("dual-tor")
    given = list(addresses(topology))
    texts = {(end, str(address)) for end, address in given}
    assert len({address.ip for _, address in given}) == len(given) == 2 * (11 + 2 * 18)
    for node, interface, address in (
        ("spine-2", "lo", "10.0.0.2/32"),
        ("spine-2", "eth3", "10.254.2.4/31"),
        ("tor-2a", "eth2", "10.254.2.5/31"),
        ("tor-1a", "eth3", "10.1.1.0/31"),
        ("node-1", "eth1", "10.1.1.1/31"),
        ("node-4", "eth2", "fd00:2:2::3/127"),
        ("node-3", "lo", "fd00:0:12::1/128"),
        ("edge", "eth2", "10.254.9.3/31"),
        ("edge", "lo", "2001:db8:ffff::10/128"),
    ):
        assert (Endpoint(node, interface), address) in texts


def test_both_ends_of_each_link_share_one_subnet_of_each_family() -> None:
    topology = shipped("dual-tor")
    subnets: dict[Endpoint, set[object]] = {}
    for end, address in addresses(topology):
        subnets.setdefault(end, set()).add(address.network)
    assert len(topology.links) == 18
    for link in topology.links:
        assert subnets[link.a] == subnets[link.b]
        assert len(subnets[link.a]) == 2
        assert link.mtu == 9000


def test_every_node_hangs_on_both_tors_of_its_rack() -> None:
    topology = shipped("dual-tor")
    assert [node.name for node in topology.in_group("k8s-node")] == ["node-1", "node-2", "node-3", "node-4"]
    for node in topology.in_group("k8s-node"):
        peers = {link.a.node for link in topology.links if link.b.node == node.name}
        racks = {topology.nodes[peer].labels["rack"] for peer in peers}
        assert len(peers) == 2
        assert racks == {node.labels["rack"]}
        assert node.labels["underlay/pods"] == "2"
        assert node.sysctls["net.ipv4.conf.all.rp_filter"] == "2"
        assert node.sysctls["net.ipv6.conf.default.accept_dad"] == "0"
