"""What a node may learn, and why not. Pure; packed prefixes only.

ExaBGP hands on whatever a peer sends: no loop check, no bogon check. So the speaker refuses its own AS in the
path (unless the session allows it), its own blocks and anything inside them, its own loopbacks and uplink
subnets, link-local, loopback and multicast space, and everything that no rule of the plan accepts. A refusal
has a reason that status and logs can show.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from peering.prefixes import Prefix, contains, host_prefix, pack_prefix
from peering.session import PrefixRule

_NEVER = tuple(
    pack_prefix(p) for p in ("127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3", "::1/128", "fe80::/10", "ff00::/8")
)


class ImportPolicy:
    """Compiled once per plan and set of own blocks; asked once per route."""

    def __init__(
        self,
        *,
        own_asn: int,
        accept: Sequence[PrefixRule],
        own_blocks: Iterable[str] = (),
        loopbacks: Iterable[str] = (),
        uplink_subnets: Iterable[str] = (),
    ) -> None:
        self._own_asn = own_asn
        self._accept = [(pack_prefix(r.cidr), r.min_length, r.max_length) for r in accept]
        self._refuse = [(own, "own block") for own in map(pack_prefix, own_blocks)]
        self._refuse += [(pack_prefix(host_prefix(a)), "own address") for a in loopbacks]
        self._refuse += [(uplink, "uplink subnet") for uplink in map(pack_prefix, uplink_subnets)]
        self._refuse += [(never, "not routable") for never in _NEVER]
        self._verdicts: dict[Prefix, str] = {}

    def refuses(self, prefix: Prefix, as_path: Sequence[int], allow_as_in: int = 0) -> str:
        """Why the route is refused; empty when it is accepted. `allow_as_in`: how often the own AS may occur."""
        if as_path.count(self._own_asn) > allow_as_in:
            return "own AS in path"
        verdict = self._verdicts.get(prefix)
        if verdict is None:
            verdict = self._verdicts[prefix] = self._judge(prefix)
        return verdict

    def _judge(self, prefix: Prefix) -> str:
        for refused, reason in self._refuse:
            if contains(refused, prefix):
                return reason
        for rule, shortest, longest in self._accept:
            if shortest <= prefix[0] <= longest and contains(rule, prefix):
                return ""
        return "not in the import policy"
