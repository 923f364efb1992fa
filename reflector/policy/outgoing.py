"""The attributes of a route on its way out: which routes stay, and what is changed before and after the filters.

Filters see the path without the AS that we put in front of it, and the LOCAL_PREF that the route has here, also towards
eBGP peers: so do BIRD's, and with them Calico's.
"""

from __future__ import annotations

from typing import Protocol

from peering.session import NextHopMode
from reflector.policy.rewriting import rewritten
from reflector.rib.route import Kind
from reflector.wire.as_path import prepend, replace_as, without_confederations
from reflector.wire.attribute_block import AttributeBlock, Changes
from reflector.wire.attributes import AIGP
from reflector.wire.communities import LLGR_STALE, NO_ADVERTISE, NO_EXPORT, NO_EXPORT_SUBCONFED

#: LOCAL_PREF of a route that has none (RFC 4271, 5.1.5 asks for one inside the AS; all implementations say 100).
LOCAL_PREF = 100


class Terms(Protocol):
    """What is read of `ExportTerms`."""

    @property
    def kind(self) -> Kind: ...
    @property
    def local_asn(self) -> int: ...
    @property
    def peer_asn(self) -> int: ...
    @property
    def prepend(self) -> int: ...
    @property
    def as_override(self) -> bool: ...
    @property
    def next_hop(self) -> NextHopMode: ...


def is_held_back(block: AttributeBlock, *, external: bool, long_lived: bool) -> bool:
    """Whether a community keeps the route from a peer.

    Communities are looked at before export filters: one that a filter adds is for the peer to obey. An eBGP peer is
    outside any confederation, so NO_EXPORT_SUBCONFED says no more than NO_EXPORT (RFC 1997).
    """
    communities = block.communities
    if not communities:
        return False
    if NO_ADVERTISE in communities or (LLGR_STALE in communities and not long_lived):
        # RFC 9494, 4.3: those who do not know the community would take a stale route for a good one.
        return True
    return external and (NO_EXPORT in communities or NO_EXPORT_SUBCONFED in communities)


def prepared(block: AttributeBlock, terms: Terms) -> AttributeBlock:
    """What filters are shown, and may change."""
    changes: Changes = {}
    external = terms.kind == "ebgp"
    if (external or terms.next_hop == "self") and block.attribute(AIGP) is not None:
        # RFC 7311, 3.3 and 3.4: it stays inside the AS, and who changes the next hop must add its distance to the
        # old one, which a reflector does not know.
        changes["aigp"] = None
    if not external:
        return rewritten(block, changes)
    if block.med is not None and block.neighbour_as:
        # RFC 4271, 5.1.4: the MED of one neighbouring AS is not for others. It is taken out also where an import filter
        # set it, which cannot be told from the other; one set by an export filter is sent. A route from within our own
        # AS has an empty path, and its MED is meant for our neighbours.
        changes["med"] = None
    if terms.as_override and terms.peer_asn in block.as_path:
        changes["as_path"] = replace_as(block.segments, terms.peer_asn, terms.local_asn)
    return rewritten(block, changes)


def finished(block: AttributeBlock, terms: Terms) -> AttributeBlock:
    """What goes out, without what only a reflector adds.

    Towards an eBGP peer: our AS in front (RFC 4271, 5.1.2), no confederations (RFC 5065, 4.1), and nothing that is only
    for the inside (RFC 4271, 5.1.5; RFC 4456, 8). The peer's own AS in the path stops nothing: it sees that itself.
    """
    changes: Changes = {}
    if terms.kind != "ebgp":
        if block.local_pref is None:
            changes["local_pref"] = LOCAL_PREF
        return rewritten(block, changes)
    path = without_confederations(block.segments)
    changes["as_path"] = prepend(path, (terms.local_asn,) * (1 + terms.prepend))
    if block.local_pref is not None:
        changes["local_pref"] = None
    if block.originator_id is not None:
        changes["originator_id"] = None
    if block.cluster_list:
        changes["cluster_list"] = None
    return rewritten(block, changes)
