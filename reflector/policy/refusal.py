"""Why a route that a peer announced is not used."""

from __future__ import annotations

from typing import NamedTuple


class Refusal(NamedTuple):
    """`code` is for programs, in kebab-case, and stable; `text` is what a person is told.

    Of import policy: `own-originator-id`, `own-cluster-id`, `own-as-in-path`, `first-as`, `filter` (whose text is the
    rule's place, as `BGPFilter/no-bogons spec.importV4[2]`).
    """

    code: str
    text: str
