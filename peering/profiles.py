"""What declarations refer to by name: BFD profiles and filters."""

from __future__ import annotations

from typing import cast

from peering.resources.bfd import BFDProfileSpec
from peering.resources.bgp_filter import BGPFilterSpec
from peering.session import BfdParameters
from peering.snapshot import Snapshot


def bfd_parameters(snapshot: Snapshot, name: str | None) -> BfdParameters | None:
    """The profile of that name; None when there is none, which lint reports."""
    resource = snapshot.get("BFDProfile", name) if name else None
    if resource is None:
        return None
    spec = cast(BFDProfileSpec, resource.spec)
    return BfdParameters(
        profile=resource.name,
        receive_interval=spec.receive_interval,
        transmit_interval=spec.transmit_interval,
        detect_multiplier=spec.detect_multiplier,
        passive_mode=spec.passive_mode,
        minimum_ttl=spec.minimum_ttl,
    )


Attached = tuple[tuple[str, ...], tuple[str, ...]]
"""Names of filters for import and for export, in order."""


def attached_filters(snapshot: Snapshot, names: tuple[str, ...]) -> Attached:
    """The filters that have a rule for the direction.

    One that does not exist stays in both: whoever evaluates it then lets nothing through (Calico skips it in silence).
    """
    imports, exports = [], []
    for name in names:
        resource = snapshot.get("BGPFilter", name)
        spec = cast(BGPFilterSpec, resource.spec) if resource else None
        if spec is None or spec.import_v4 or spec.import_v6:
            imports.append(name)
        if spec is None or spec.export_v4 or spec.export_v6:
            exports.append(name)
    return tuple(imports), tuple(exports)
