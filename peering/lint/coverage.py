"""Who ends with no session, or with one only; and what selects nobody.

A label that is gone from the nodes takes every session with it that selected by it, and nothing else is wrong with the
declaration. (In 2023 a selector for the `master` label that Kubernetes had removed cost Reddit 314 minutes.) So a
selector without a node is an error wherever nodes exist, except where it is the usual state of a growing fabric: a rack
that is declared before its nodes come.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from typing import cast

from peering.lint.digest import NodeDigest, ref_of
from peering.lint.view import View
from peering.problems import Problem, Severity
from peering.resource import Resource
from peering.resources.bgp_peer import BGPPeerSpec
from peering.resources.fabric import RackSpec
from peering.resources.route_reflector import RouteReflectorSpec

#: Labels of a selector, and some words besides: what stands outside of its quotes.
_LABEL = re.compile(r"\"[^\"]*\"|'[^']*'|([a-zA-Z0-9_./-]+)")
_WORDS = frozenset({"all", "global", "has", "in", "not", "contains", "starts", "ends", "with"})
_FAMILIES = ("IPv4", "IPv6")


def node_without_session(node: NodeDigest, rack: RackSpec | None) -> Iterator[Problem]:
    if not node.ends.count:
        where = f" in Rack/{node.facts.rack}" if rack else ""
        hint = f"its pods{where} will not be reachable; check the nodeSelectors of racks and BGPPeers"
        yield Problem("warning", "node-without-session", node.ref, "", "has no BGP session", hint)


def single_session(node: NodeDigest, rack: RackSpec | None) -> Iterator[Problem]:
    """One peer in all, or one for a family; sessions of the mesh are no redundancy of each other."""
    if node.in_mesh or not node.ends.count:
        return
    peers = node.ends.all_peers
    if rack is not None and sum(peer.startswith("switch/") for peer in peers) < len(set(rack.switches)):
        return  # a missing link is an error of its own
    if (rack is not None and len(set(rack.switches)) == 1) or (peers <= node.reflectors and len(peers) == 1):
        return  # told once, of the rack or the reflector
    hint = "declare a second peer: a switch of its rack, another BGPPeer or RouteReflector"
    if len(peers) == 1:
        message = f"peers with {ref_of(*peers)} only: when that fails its pods are cut off"
        yield Problem("warning", "single-session", node.ref, "", message, hint)
        return
    for family, own in zip(_FAMILIES, node.ends.peers, strict=True):
        if len(own) == 1:
            message = f"has {family} with {ref_of(*own)} only: when that fails its {family} pods are cut off"
            yield Problem("warning", "single-session", node.ref, "", message, hint)


def single_tor(resource: Resource, view: View) -> Iterator[Problem]:
    """A rack whose nodes face one switch."""
    switches = set(cast(RackSpec, resource.spec).switches)
    if len(switches) == 1:
        message = f"names Switch/{next(iter(switches))} only: when it fails the whole rack is cut off"
        yield Problem("warning", "single-tor", resource.ref, "spec.switches", message, "give the rack two ToRs")


def empty_rack(resource: Resource, view: View) -> Iterator[Problem]:
    if view.members[resource.name]:
        return
    selector = cast(RackSpec, resource.spec).node_selector
    if view.select(selector):
        return  # its nodes stand in another rack, which is an error of its own
    yield _nothing(resource, "spec.nodeSelector", selector, view, "warning", "no session of this rack will exist")


def empty_peer(resource: Resource, view: View) -> Iterator[Problem]:
    """A BGPPeer's two selectors. What gave a session has selected somebody on both sides."""
    spec = cast(BGPPeerSpec, resource.spec)
    if resource.ref in view.sources:
        return
    severity: Severity = "error" if view.nodes else "warning"
    consequence = "no session of this BGPPeer will exist"
    if spec.node is not None and spec.node not in view.nodes:
        message = f"there is no Node/{spec.node}"
        yield Problem("warning", "selector-matches-nothing", resource.ref, "spec.node", message, consequence)
    if spec.node is None and not view.select(spec.node_selector):
        yield _nothing(resource, "spec.nodeSelector", spec.node_selector or "all()", view, severity, consequence)
    if spec.peer_selector is not None and not view.select(spec.peer_selector):
        yield _nothing(resource, "spec.peerSelector", spec.peer_selector, view, severity, consequence)


def empty_reflector(resource: Resource, view: View) -> Iterator[Problem]:
    """A reflector without clients; one that selects none is served by BGPPeers or by its `acceptPrefixes`."""
    spec = cast(RouteReflectorSpec, resource.spec)
    if spec.node is not None and spec.node not in view.nodes:
        message, hint = f"there is no Node/{spec.node}", "declare the node it runs on"
        yield Problem("warning", "selector-matches-nothing", resource.ref, "spec.node", message, hint)
    if spec.node_selector is None or resource.ref in view.sources:
        return
    if not view.select(spec.node_selector):
        severity: Severity = "error" if view.nodes else "warning"
        yield _nothing(resource, "spec.nodeSelector", spec.node_selector, view, severity, "it will have no client")


def empty_pool(resource: Resource, view: View) -> Iterator[Problem]:
    if view.nodes and not view.nodes_of_pool[resource.name]:
        selector = view.pools[resource.name].node_selector
        yield _nothing(resource, "spec.nodeSelector", selector, view, "warning", "no node takes blocks from it")


def _nothing(resource: Resource, path: str, selector: str, view: View, severity: Severity, consequence: str) -> Problem:
    hint = f"{consequence}{_label_hint(selector, view)}"
    message = f"{selector!r} selects no node"
    return Problem(severity, "selector-matches-nothing", resource.ref, path, message, hint)


def _label_hint(selector: str, view: View) -> str:
    """Which label no node has, or which values it has there."""
    wanted = [word for word in _LABEL.findall(selector) if word and word not in _WORDS]
    if not view.nodes or not wanted:
        return "; compare with the labels of the nodes"
    values: dict[str, set[str]] = {}
    for node in view.graph.nodes.values():
        for label, value in node.labels.items():
            values.setdefault(label, set()).add(value)
    for label in wanted:
        if label not in values:
            return f"; no node has the label {label}{_nearest(label, list(values))}"
    shown = sorted(values[wanted[0]])
    return f"; nodes have {wanted[0]} {', '.join(map(repr, shown[:3]))}{', ...' if len(shown) > 3 else ''}"


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, 1, 0.6)
    return f"; did you mean {near[0]}?" if near else ""
