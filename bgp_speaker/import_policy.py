"""What a node may learn, and why not. Pure; packed prefixes only.

ExaBGP hands on whatever a peer sends: no loop check, no bogon check. So the speaker refuses, whatever a filter says,
its own blocks and anything inside them, its own loopbacks and uplink subnets, link-local, loopback and multicast
space, and next hops that are its own addresses. What is left is accepted when a rule of the plan accepts it. A
refusal has a reason.

Of what is inside its own blocks only the very addresses can be learned that IPAM says others have borrowed (`lent`):
without a route of their own the blackhole of the block would take what is for them. They are learned from a node of
the same AS, too: this node announces none of them, so its AS in the path is no loop.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from peering.prefixes import Prefix, contains, host_prefix, pack_address, pack_prefix
from peering.session import PrefixRule

NOT_ACCEPTED = "not in the import policy"

_NEVER = tuple(
    pack_prefix(p) for p in ("127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3", "::1/128", "fe80::/10", "ff00::/8")
)


class ImportPolicy:
    """Compiled once per plan and set of own blocks; asked once per prefix."""

    def __init__(
        self,
        *,
        own_asn: int,
        accept: Sequence[PrefixRule],
        own_blocks: Iterable[str] = (),
        lent: Iterable[str] = (),
        loopbacks: Iterable[str] = (),
        uplink_subnets: Iterable[str] = (),
        addresses: Iterable[str] = (),
    ) -> None:
        """`addresses` are the node's own beside its loopbacks: those that its sessions start from."""
        self.own_asn = own_asn
        self.own_addresses = frozenset(map(pack_address, (*loopbacks, *addresses)))
        self._accept = [(pack_prefix(r.cidr), r.min_length, r.max_length) for r in accept]
        self._own_blocks = tuple(map(pack_prefix, own_blocks))
        self._lent = frozenset(map(pack_prefix, lent))
        self._refuse = [(pack_prefix(host_prefix(a)), "own address") for a in loopbacks]
        self._refuse += [(uplink, "uplink subnet") for uplink in map(pack_prefix, uplink_subnets)]
        self._refuse += [(never, "not routable") for never in _NEVER]
        self._verdicts: dict[Prefix, tuple[str, bool]] = {}

    def refuses(self, prefix: Prefix) -> str:
        """Why nobody may announce this prefix to us; empty when somebody may."""
        return self._verdict(prefix)[0]

    def is_lent(self, prefix: Prefix) -> bool:
        """Whether it is an address of an own block that another node has borrowed."""
        return prefix in self._lent

    def accepts(self, prefix: Prefix) -> bool:
        """Whether a rule of the plan accepts the prefix."""
        return self._verdict(prefix)[1]

    def _verdict(self, prefix: Prefix) -> tuple[str, bool]:
        verdict = self._verdicts.get(prefix)
        if verdict is None:
            verdict = self._verdicts[prefix] = (self._refusal(prefix), self._is_accepted(prefix))
        return verdict

    def _refusal(self, prefix: Prefix) -> str:
        if prefix not in self._lent and any(contains(own, prefix) for own in self._own_blocks):
            return "own block"
        return next((reason for refused, reason in self._refuse if contains(refused, prefix)), "")

    def _is_accepted(self, prefix: Prefix) -> bool:
        return any(
            shortest <= prefix[0] <= longest and contains(rule, prefix) for rule, shortest, longest in self._accept
        )
