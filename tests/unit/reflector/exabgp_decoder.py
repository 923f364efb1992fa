"""ExaBGP's library as a second opinion on an UPDATE: what it makes of one, in our terms."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, NamedTuple

from exabgp.bgp.message.action import Action
from exabgp.bgp.message.direction import Direction
from exabgp.bgp.message.notification import Notify
from exabgp.bgp.message.update import Update as ExabgpUpdate
from exabgp.bgp.message.update.attribute import Attribute
from exabgp.bgp.message.update.eor import EOR
from exabgp.logger import log
from exabgp.protocol.family import AFI, SAFI

from reflector.wire.attributes import walk
from reflector.wire.families import Family

Routes = frozenset[tuple[Family, bytes]]


class Opinion(NamedTuple):
    """`kind` is kept, gone, withdrawn or reset; `text` says why. `values` are attributes: code -> value.

    NLRI are with path identifiers where ExaBGP packs them with theirs: prefixes, labelled ones, VPNs.
    """

    kind: str
    text: str = ""
    withdrawn: Routes = frozenset()
    announced: Routes = frozenset()
    next_hops: frozenset[bytes] = frozenset()
    values: dict[int, bytes] = {}
    end_of_rib: Family | None = None


def _negotiated(families: tuple[Family, ...], four_octet: bool, path_ids: bool) -> Any:
    """What its decoder asks of a session."""
    return SimpleNamespace(
        families=[(AFI.create(family.afi), SAFI.create(family.safi)) for family in families],
        asn4=four_octet,
        addpath=SimpleNamespace(receive=lambda afi, safi: path_ids, send=lambda afi, safi: path_ids),
        nexthop=[],
        aigp=True,
        cached_attributes=None,
        cached_wire=b"",
        neighbor=None,
        local_as=1,
        peer_as=1,
    )


def exabgp_opinion(body: bytes, families: tuple[Family, ...], *, four_octet: bool, path_ids: bool) -> Opinion:
    """Of the body of an UPDATE from an iBGP peer."""
    log.disable()
    try:
        update = ExabgpUpdate.unpack_message(body, Direction.IN, _negotiated(families, four_octet, path_ids))
    except Notify as refused:
        return Opinion("reset", f"{refused.code}/{refused.subcode} {refused.data!r}")
    if isinstance(update, EOR):
        return Opinion("kept", end_of_rib=_family(update.nlris[0]))
    withdraw = update.attributes.get(Attribute.CODE.INTERNAL_TREAT_AS_WITHDRAW)
    kind, text = "kept", ""
    if Attribute.CODE.INTERNAL_DISCARD in update.attributes:
        kind = "gone"
    if withdraw is not None:
        kind, text = "withdrawn", f"attribute {withdraw.aid}"
    packer = _negotiated(families, True, path_ids)
    gone = [nlri for nlri in update.nlris if nlri.action == Action.WITHDRAW]
    announced = [nlri for nlri in update.nlris if nlri.action == Action.ANNOUNCE]
    return Opinion(
        kind,
        text,
        frozenset((_family(nlri), nlri.pack(packer)) for nlri in gone),
        frozenset((_family(nlri), nlri.pack(packer)) for nlri in announced),
        frozenset(nlri.nexthop.ton() for nlri in announced if nlri.nexthop.ton()),
        _values(update.attributes, packer),
    )


def _family(nlri: Any) -> Family:
    return Family(int(nlri.afi), int(nlri.safi))


def _values(attributes: Any, packer: Any) -> dict[int, bytes]:
    """The attributes as ExaBGP would send them on to a peer with AS numbers of four bytes."""
    packed = b"".join(
        attribute.pack(packer)
        for code, attribute in attributes.items()
        if int(code) < 256 and code != Attribute.CODE.NEXT_HOP
    )
    return {code: value for code, _, value in walk(packed)}
