"""Small fabrics of all sorts, drawn at random, for comparing two answers to one question."""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import strategies as st

from peering.resource import Resource, parse_resource

DESIGNS = ("ebgp-as-per-rack", "ebgp-as-per-node", "ebgp-as-per-cluster", "ibgp-tor-reflects")
Document = dict[str, Any]


def document(kind: str, name: str, spec: Document, labels: dict[str, str] | None = None) -> Document:
    group = "projectcalico.org/v3" if kind.startswith(("BGP", "IP", "Node")) else "underlay.io/v1alpha1"
    metadata: Document = {"name": name} | ({"labels": labels} if labels else {})
    return {"apiVersion": group, "kind": kind, "metadata": metadata, "spec": spec}


def resources(documents: list[Document]) -> list[Resource]:
    parsed = [parse_resource(one) for one in documents]
    assert all(isinstance(one, Resource) for one in parsed), [p for p in parsed if not isinstance(p, Resource)]
    return [one for one in parsed if isinstance(one, Resource)]


@st.composite
def fabrics(draw: st.DrawFn) -> list[Resource]:
    """Racks of up to three designs that may look alike, nodes without racks, reflectors, a mesh, peers, filters."""
    maker = _Maker(draw)
    pattern = maker.rack_pattern()
    for number in range(draw(st.integers(0, 4))):
        maker.rack(number, maker.nearly(pattern))
    for number in range(draw(st.integers(0 if maker.documents else 1, 3))):
        maker.flat_node(number)
    for number in range(draw(st.integers(0, 2))):
        maker.reflector(number)
    maker.filters()
    for number in range(draw(st.integers(0, 2))):
        maker.peer(number)
    maker.the_rest()
    return resources(maker.documents)


class _Maker:
    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.documents: list[Document] = []
        self._numbers = itertools.count(1)
        self._filters: list[str] = []
        #: Whether loopbacks, and so router IDs, grow with the names or against them.
        self._backwards = draw(st.booleans())
        #: That of a rack's switches makes it iBGP there.
        self._spine_as = draw(st.sampled_from([65000, 65000, 65000, 65100]))

    def pick(self, *values: Any) -> Any:
        return self.draw(st.sampled_from(values))

    def sometimes(self, one_in: int = 4) -> bool:
        return bool(self.draw(st.integers(1, one_in)) == one_in)

    def rack_pattern(self) -> Document:
        return {
            "design": self.pick(*DESIGNS),
            "loopCheck": self.pick("as-override", "allow-as-in"),
            "downward": self.pick("pools", "pools", "default-only", "all"),
            "peerAddresses": self.pick("links", "links", "links", "loopbacks", "unnumbered"),
            "switches": self.draw(st.integers(1, 2)),
            "nodes": self.draw(st.integers(1, 3)),
            "spines": [self.pick((0,), (0, 1), (0, 1), (1,), ()) for _ in range(2)],
            "shared": self.sometimes(6),
            "missing": self.draw(st.sets(st.tuples(st.integers(0, 2), st.integers(0, 1)), max_size=1))
            if self.sometimes()
            else set(),
            "one_as": self.pick(True, False),
            "accept": self.pick([], [], ["10.2.0.0/15"]),
            "backwards": self.sometimes(),
            "blackhole": self.sometimes(6),
            "reflects": self.sometimes(8),
            "pair": self.sometimes(3),
        }

    def nearly(self, pattern: Document) -> Document:
        """The same, the same but for one thing, or another one: what is nearly alike is most easily taken for alike."""
        other = self.rack_pattern()
        changed = self.pick(None, None, *sorted(pattern))
        return pattern if changed is None else other if self.sometimes(6) else pattern | {changed: other[changed]}

    def rack(self, number: int, pattern: Document) -> None:
        ibgp = pattern["design"] == "ibgp-tor-reflects"
        names = [f"tor-{number}{'ab'[side]}" for side in range(pattern["switches"])]
        asns = [65100 + 10 * number + (0 if ibgp or pattern["one_as"] else side) for side in range(2)]
        for side, name in enumerate(names):
            self._switch(number, side, name, asns[side], pattern)
        spec = {
            "nodeSelector": f"rack == 'r{number}'",
            "switches": names,
            **{key: pattern[key] for key in ("design", "loopCheck", "downward", "peerAddresses")},
        }
        if pattern["accept"]:
            spec["acceptPrefixes"] = pattern["accept"]
        if pattern["design"] == "ebgp-as-per-rack":
            spec["nodeASNumber"] = 65200 + number
        if pattern["shared"] and pattern["peerAddresses"] == "unnumbered":
            spec["peerAddresses"] = "links"
        self.documents.append(document("Rack", f"r{number}", spec))
        for seat in range(pattern["nodes"]):
            self._rack_node(number, seat, names, pattern)

    def _switch(self, number: int, side: int, name: str, asn: int, pattern: Document) -> None:
        index = 2 * number + side
        spines = pattern["spines"][side]
        peers = [
            {"name": f"spine-{s}", "address": f"10.250.{s}.{2 * index}", "asNumber": self._spine_as} for s in spines
        ]
        if pattern["pair"] and pattern["switches"] == 2:
            asn_beside = (
                asn if pattern["design"] == "ibgp-tor-reflects" or pattern["one_as"] else 65100 + 10 * number + 1 - side
            )
            beside = {
                "name": f"tor-{number}{'ba'[side]}",
                "address": f"10.251.{number}.{1 - side}",
                "asNumber": asn_beside,
            }
            peers.append(beside)
        subnet = f"10.1{number}.{0 if pattern['shared'] else side}.0/24"
        spec = {
            "asNumber": asn,
            "addresses": [f"10.0.0.{200 - index if pattern['backwards'] else 10 + index}/32"],
            "linkSubnets": [subnet],
            "fabricPeers": peers,
        }
        if pattern["shared"]:
            spec["linkAddresses"] = [f"10.1{number}.0.{250 + side}/24"]
        self.documents.append(document("Switch", name, spec))

    def _rack_node(self, number: int, seat: int, switches: list[str], pattern: Document) -> None:
        index = next(self._numbers)
        bgp: Document = {"ipv4Address": f"10.2.0.{200 - index if self._backwards else index}/32"}
        if pattern["design"] == "ebgp-as-per-node":
            bgp["asNumber"] = 65300 + index
        if pattern["reflects"] and seat == 0:
            bgp["routeReflectorClusterID"] = "3.3.3.3"
        uplinks = []
        for side, switch in enumerate(switches):
            interface = f"eth{side + 1}"
            if (seat, side) in pattern["missing"]:
                continue
            if pattern["shared"]:
                uplinks = [{"interface": "bond0", "addresses": [f"10.1{number}.0.{seat + 1}/24"]}]
            elif pattern["peerAddresses"] == "unnumbered":
                uplinks.append({"interface": interface, "switch": switch, "switchInterface": f"swp{seat + 1}"})
            else:
                uplinks.append({"interface": interface, "addresses": [f"10.1{number}.{side}.{2 * seat + 1}/31"]})
        if pattern["blackhole"] and seat == 0:
            advertisement = {"cidr": "10.244.0.0/16", "communities": ["65535:666"]}
            self.documents.append(
                document("BGPConfiguration", f"node.n{index}", {"prefixAdvertisements": [advertisement]})
            )
        labels = {"rack": f"r{number}", "seat": str(seat), "client": self.pick("yes", "no")}
        labels["reflects"] = "yes" if "routeReflectorClusterID" in bgp else "no"
        self.documents.append(document("Node", f"n{index}", {"bgp": bgp, "uplinks": uplinks}, labels))

    def flat_node(self, number: int) -> None:
        index = next(self._numbers)
        bgp: Document = {"ipv4Address": f"10.2.1.{200 - index if self._backwards else index}/32"}
        if self.sometimes():
            bgp["routeReflectorClusterID"] = self.pick("1.1.1.1", "2.2.2.2")
        if self.sometimes():
            bgp["asNumber"] = self.pick(64512, 64777)
        labels = {"flat": "yes", "client": "yes", "reflects": "yes" if "routeReflectorClusterID" in bgp else "no"}
        spec: Document = {"bgp": bgp}
        if self.sometimes():
            address = self.pick(f"10.9.0.{index}/24", f"10.10.0.{200 + 2 * number + 1}/31")
            spec["uplinks"] = [{"interface": "eth0", "addresses": [address]}]
        self.documents.append(document("Node", f"n{index}", spec, labels))

    def reflector(self, number: int) -> None:
        spec: Document = {
            "addresses": [f"10.3.0.{number + 1}/32"],
            "nodeSelector": self.pick("all()", "client == 'yes'", "has(flat)"),
        }
        if number and self.sometimes():
            spec["upstream"] = ["rr-0"]
        if self.sometimes():
            spec["addPaths"] = self.pick("send", "both")
        if self.sometimes():
            spec["fabricPeers"] = [{"name": "spine-0", "address": "10.250.0.0", "asNumber": self._spine_as}]
        if self.sometimes(6):
            spec["fabricPeers"] = [{"name": "tor", "address": "10.0.0.10", "asNumber": 65100}]
        if self.sometimes(6):
            spec["node"] = "n1"
        self.documents.append(document("RouteReflector", f"rr-{number}", spec))

    def filters(self) -> None:
        if not self.sometimes(3):
            return
        rules = [
            {"action": "Reject", "cidr": "10.244.0.0/16", "matchOperator": "In", "peerType": self.pick("eBGP", "iBGP")},
            {"action": "Reject", "cidr": "0.0.0.0/0", "matchOperator": "Equal"},
            {"action": "Accept", "operations": [{"setLocalPreference": {"value": 200}}], "asPathPrefix": [65100]},
            {"action": "Accept", "operations": [{"prependASPath": {"prefix": [64512]}}], "interface": "eth1"},
            {"action": "Accept", "operations": [{"addCommunity": {"value": "graceful-shutdown"}}]},
            {"action": "Accept", "operations": [{"addCommunity": {"value": self.pick("no-export", "65535:666")}}]},
            {"action": "Accept", "cidr": "10.2.0.0/15", "matchOperator": "In"},
        ]
        for name in ("f1", "f2"):
            spec = {
                direction: self.draw(st.lists(st.sampled_from(rules), max_size=2))
                for direction in ("importV4", "exportV4")
            }
            self.documents.append(document("BGPFilter", name, spec))
            self._filters.append(name)

    def peer(self, number: int) -> None:
        kinds: dict[str, Document] = {
            "external": {"peerIP": "10.7.0.1", "asNumber": self.pick(64600, 64512)},
            "spine": {"peerIP": "10.250.0.0", "asNumber": self._spine_as},
            "on-link": {"peerIP": "10.9.0.200", "asNumber": 64601},
            "switch": {"peerIP": "10.0.0.10", "asNumber": 65100},
            "to-reflecting": {"peerSelector": "reflects == 'yes'"},
            "to-all": {"peerSelector": "all()"},
            "one-sided": {"peerSelector": "has(flat)", "reversePeering": "Manual"},
        }
        spec = dict(kinds[self.pick(*kinds)])
        spec["nodeSelector"] = self.pick("all()", "has(flat)", "client == 'yes'", "seat == '0'")
        if self._filters and self.sometimes(2):
            spec["filters"] = self.pick(["f1"], ["f1", "f2"], ["f2", "gone"])
        if self.sometimes():
            spec["nextHopMode"] = self.pick("Self", "Keep", "Auto")
        if self.sometimes() and "peerIP" in spec:
            spec["numAllowedLocalASNumbers"] = 1
        if self.sometimes(6) and "peerIP" in spec:
            spec["localASNumber"] = 64999
        if self.sometimes(6):
            spec["sourceAddress"] = "None"
        self.documents.append(document("BGPPeer", f"p{number}", spec))

    def the_rest(self) -> None:
        pools: list[Document] = [
            {"cidr": "10.244.0.0/16"},
            {"cidr": "10.245.0.0/24", "blockSize": 28, "nodeSelector": "has(rack)"},
        ]
        for number, spec in enumerate(pools[: self.draw(st.integers(0, 2))]):
            extra = {"disableBGPExport": True} if self.sometimes(5) else {}
            whole = {"aggregate": self.pick("rack", "pool")} if self.sometimes(3) else {}
            self.documents.append(document("IPPool", f"pool-{number}", spec | extra | whole))
        for rack in [one["metadata"]["name"] for one in self.documents if one["kind"] == "Rack"]:
            if self.sometimes(3):
                spec = {"cidr": f"10.246.{rack[1:]}.0/24", "blockSize": 28, "nodeSelector": f"rack == '{rack}'"}
                whole = {"aggregate": self.pick("rack", "rack", "pool", "block")}
                self.documents.append(document("IPPool", f"pool-{rack}", spec | whole))
        configuration: Document = {"nodeToNodeMeshEnabled": self.pick(True, False, False)}
        if self.sometimes(6):
            advertisement = {"cidr": "10.244.0.0/16", "communities": ["65535:0"]}
            configuration["prefixAdvertisements"] = [advertisement]
        self.documents.append(document("BGPConfiguration", "default", configuration))
