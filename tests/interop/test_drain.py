"""A node that is drained, as a router (BIRD) hears it: the last resort first, then withdrawn, and back."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterator

import pytest

from peering.drain_wish import DrainWish, Extent
from peering.resource import Resource
from peering.resources.ipam import IPAMBlockSpec
from peering.services import Announced
from peering.session import Session
from peering.store.resources import put
from peering.store.sqlite import SqliteStore
from tests.interop.speaker_lab import ASN, Node, Router, SpeakerLab, eventually

pytestmark = pytest.mark.lab

SERVICES, ALONE = "10.96.0.0/12", "192.0.2.7/32"
#: IPv4 from another AS, IPv6 from the same one.
BIRD = """
protocol bgp external_as {
  local 10.9.0.200 as 65001; neighbor 10.9.0.1 as 64512; passive on; multihop; hold time 9;
  ipv4 { import all; export none; };
}
protocol bgp same_as {
  local fd00:9::c8 as 64512; neighbor fd00:9::1 as 64512; passive on; multihop; hold time 9;
  ipv6 { import all; export none; };
}
"""
#: Long enough to look at what is between two states.
SETTLE = 4.0


def sessions(node: Node) -> tuple[Session, Session]:
    other = Session(
        name="other",
        peer="external",
        source="BGPPeer/router",
        type="ebgp",
        local_address=node.addresses[0],
        local_asn=ASN,
        peer_address=Router.addresses[0],
        peer_asn=65001,
        multihop=255,
        hold_time=9,
        families=("ipv4-unicast",),
    )
    same = dataclasses.replace(
        other,
        name="same",
        type="ibgp",
        local_address=node.addresses[1],
        peer_address=Router.addresses[1],
        peer_asn=ASN,
        families=("ipv6-unicast",),
    )
    return other, same


class Drained:
    """Node 1 of a lab and its router."""

    def __init__(self, lab: SpeakerLab) -> None:
        self.lab, self.node, self.router = lab, lab.nodes[0], Router(lab)
        self.router.start(BIRD)
        for block in self.node.blocks:
            self.use(block, "pod")
        self.want(None)
        lab.start(self.node)

    def want(self, extent: Extent | None) -> None:
        services = Announced((SERVICES,), (ALONE,), shared=(SERVICES,))
        wish = DrainWish(extent, settle=SETTLE)
        self.lab.declare(self.node, *sessions(self.node), services=services, drain=wish)

    def use(self, block: str, *handles: str) -> None:
        given = [{"ordinal": number, "handle": handle} for number, handle in enumerate(handles)]
        spec = {"cidr": block, "affinity": f"host:{self.node.name}", "allocations": given}
        name = block.replace(":", "-").replace(".", "-").replace("/", "-").replace("--", "-")

        async def work() -> None:
            store = SqliteStore(self.lab.folder / "store.db")
            await put(store, Resource("IPAMBlock", name, IPAMBlockSpec.model_validate(spec)))
            await store.close()

        asyncio.run(work())

    def hears(self, prefix: str) -> str:
        """`nothing`, `last resort`, or `as ever`."""
        shown = self.router.route(prefix)
        if not shown:
            return "nothing"
        return "last resort" if "(65535,0)" in shown else "as ever"

    def heard(self) -> list[str]:
        v4, v6 = self.node.blocks
        return [self.hears(prefix) for prefix in (v4, v6, SERVICES, ALONE)]

    def state(self) -> tuple[str, tuple[str, ...]]:
        status = self.lab.status(self.node)
        return (status.drain, status.kept) if status else ("", ())

    def since(self) -> list[float]:
        return [row.since for row in self.lab.rows(self.node).values()]


@pytest.fixture
def drained() -> Iterator[Drained]:
    with SpeakerLab(1) as lab:
        made = Drained(lab)
        eventually(lambda: made.heard() == ["as ever"] * 4)
        eventually(lambda: [row.state for row in lab.rows(made.node).values()] == ["Established"] * 2)
        yield made


def test_a_drained_node_leaves_and_comes_back(drained: Drained) -> None:
    (v4, v6), began = drained.node.blocks, drained.since()
    drained.want("Unused")
    eventually(lambda: drained.heard() == ["last resort"] * 4)
    eventually(lambda: drained.state()[0] == "draining", within=SETTLE)
    assert "BGP.local_pref: 0\n" in drained.router.route(v6)
    eventually(lambda: drained.heard() == ["last resort", "last resort", "nothing", "last resort"])
    eventually(lambda: drained.state() == ("drained", (v4, v6, ALONE)))
    drained.use(v4)
    eventually(lambda: drained.heard() == ["nothing", "last resort", "nothing", "last resort"])
    drained.use(v4, "pod")
    eventually(lambda: drained.heard() == ["last resort", "last resort", "nothing", "last resort"])
    drained.want("Everything")
    eventually(lambda: drained.heard() == ["nothing"] * 4)
    assert drained.hears("10.9.0.1/32") == "last resort"
    drained.want(None)
    eventually(lambda: drained.heard() == ["as ever"] * 4, within=2)
    assert "BGP.local_pref: 100\n" in drained.router.route(v6)
    eventually(lambda: drained.state() == ("serving", ()))
    assert drained.since() == began


def test_a_peer_that_comes_up_late_is_waited_for(drained: Drained) -> None:
    drained.router.ask("disable", "same_as")
    eventually(lambda: drained.hears(drained.node.blocks[1]) == "nothing")
    drained.want("Unused")
    eventually(lambda: drained.hears(SERVICES) == "last resort")
    drained.router.ask("enable", "same_as")
    eventually(lambda: drained.hears(drained.node.blocks[1]) == "last resort")
    eventually(lambda: drained.state()[0] == "drained")
