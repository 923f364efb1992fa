"""What one end says of one session, in no platform's words.

None is "not said": most platforms say some of it only, and what is not known must never be taken for a fact.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from peering.session import Family

UP = "Established"


@dataclass(frozen=True, slots=True)
class Notice:
    """The last NOTIFICATION (RFC 4271, 4.5). `sent` says whether this end sent it, None where that is not known."""

    code: int
    subcode: int
    sent: bool | None = None


@dataclass(frozen=True, slots=True)
class Kernel:
    """Segments that the TCP of an end has dropped, of any session, since it began: wrong MD5, TTL too low."""

    md5: int = 0
    ttl: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """A session as one end sees it.

    `state` is one of RFC 4271, 8.2.2; `Unknown` where the report is old. `reason` is why it is down in the end's own
    words. `peer_asn`, `local_asn`, `limit` (0: none), `ttl_security` in hops (0: off), `password` (empty: none) and
    `families` are what it is configured with, `hold_time` is what was negotiated, in seconds. `sent`, `received` and
    `accepted` count prefixes of all families; `announced` and `taken` name those that it sends and has accepted.
    `no_policy`: a direction has no policy, so nothing passes (RFC 8212).
    """

    state: str
    reason: str = ""
    notice: Notice | None = None
    local_asn: int | None = None
    peer_asn: int | None = None
    hold_time: int | None = None
    has_password: bool | None = None
    password: str | None = field(default=None, repr=False)
    ttl_security: int | None = None
    shut_down: bool = False
    bfd_down: bool = False
    over_limit: bool = False
    limit: int | None = None
    families: frozenset[Family] | None = None
    no_policy: bool = False
    sent: int | None = None
    received: int | None = None
    accepted: int | None = None
    announced: frozenset[str] | None = None
    taken: frozenset[str] | None = None

    @property
    def is_up(self) -> bool:
        return self.state == UP


#: By the far end's address, or the interface of an unnumbered session.
Ends = dict[str, End]
