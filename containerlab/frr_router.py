"""FRR as a router of the lab that is nobody's to configure: a spine, the world outside, a node on unnumbered links.

Only what makes the lab whole: sessions in both families, a default route from outside. The switches of the declaration
are rendered elsewhere. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator

from containerlab.blueprint import Neighbor, Router

#: What a switch has before anything of ours: who it is. Without the last line zebra 8.4 keeps a next-hop group of
#: one after a link of it went down and came up, and its ECMP is gone.
BASE = "frr defaults traditional\nhostname {name}\nservice integrated-vtysh-config\nno zebra nexthop kernel enable\n!\n"
#: bfdd too: a switch that is rendered may have profiles of BFD.
DAEMONS = "bgpd=yes\nbfdd=yes\nvtysh_enable=yes\n" + "".join(
    f'{name}_options="-A 127.0.0.1"\n' for name in ("zebra", "bgpd", "staticd", "bfdd")
)

_RETRY = 5
_PATHS = 16


def frr_config(name: str, router: Router) -> str:
    """The whole `frr.conf`."""
    return BASE.format(name=name) + "\n".join([*_bgp(router), *_sources(router), ""])


def _bgp(router: Router) -> Iterator[str]:
    yield f"router bgp {router.asn}"
    yield f" bgp router-id {router.router_id}"
    yield " no bgp ebgp-requires-policy"
    yield " no bgp default ipv4-unicast"
    yield " bgp bestpath as-path multipath-relax"
    for neighbor in router.neighbors:
        yield from _neighbor(neighbor)
    for version in (4, 6):
        yield from _family(router, version)
    yield "exit"
    yield "!"


def _neighbor(neighbor: Neighbor) -> Iterator[str]:
    who = f" neighbor {neighbor.peer}"
    over = "interface v6only " if neighbor.is_interface else ""
    yield f"{who} {over}remote-as {neighbor.asn or 'external'}"
    yield f"{who} description {neighbor.description}"
    yield f"{who} timers {neighbor.hold_time // 3} {neighbor.hold_time}"
    yield f"{who} timers connect {_RETRY}"


def _family(router: Router, version: int) -> Iterator[str]:
    members = [n for n in router.neighbors if n.is_interface or (":" in n.peer) is (version == 6)]
    yield " !"
    yield f" address-family ipv{version} unicast"
    for network in router.networks:
        if (":" in network) is (version == 6):
            yield f"  network {network}"
    for neighbor in members:
        yield f"  neighbor {neighbor.peer} activate"
        if neighbor.asn == router.asn:
            yield f"  neighbor {neighbor.peer} route-reflector-client"
        if neighbor.originates_default:
            yield f"  neighbor {neighbor.peer} default-originate"
    yield f"  maximum-paths {_PATHS}"
    yield f"  maximum-paths ibgp {_PATHS}"
    yield " exit-address-family"


def _sources(router: Router) -> Iterator[str]:
    """Whatever link a packet leaves by, it is from the address that is announced."""
    for address in router.sources:
        family, name = ("ipv6", "SOURCE6") if ":" in address else ("ip", "SOURCE4")
        yield f"route-map {name} permit 10"
        yield f" set src {address}"
        yield "exit"
        yield f"{family} protocol bgp route-map {name}"
        yield "!"
