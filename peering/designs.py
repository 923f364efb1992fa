"""The AS designs a rack may choose: a row each, read by the compiler and by lint.

`ebgp-as-per-rack`: the nodes of a rack share an AS that differs from the switches'; routes of rack neighbours come back
with the rack's own AS in the path and are dropped, so nodes of one rack reach each other over the default route.
`ebgp-as-per-node`: every node has an AS of its own, nothing loops, every route arrives.
`ebgp-as-per-cluster`: all nodes have one AS. Either the switch puts its own in place of theirs (`as-override`) or the
nodes let it pass once (`allow-as-in`): `loopCheck` says which.
`ibgp-tor-reflects`: nodes and switches of a rack share the AS, each switch reflects (RFC 4456). It sets itself as next
hop where nodes have no other way to each other; in a subnet that they share the next hop stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class DesignRow:
    """`node_asn`: who gives the nodes their AS. `one_asn`: paths of other racks carry the node's own AS."""

    ibgp: bool
    node_asn: Literal["rack", "node", "cluster", "switch"]
    one_asn: bool = False


DESIGNS = {
    "ebgp-as-per-rack": DesignRow(ibgp=False, node_asn="rack"),
    "ebgp-as-per-node": DesignRow(ibgp=False, node_asn="node"),
    "ebgp-as-per-cluster": DesignRow(ibgp=False, node_asn="cluster", one_asn=True),
    "ibgp-tor-reflects": DesignRow(ibgp=True, node_asn="switch"),
}
