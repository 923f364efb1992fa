"""The table of kinds: spec model, API groups they are accepted under, and who writes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from peering.resources import calico, fabric, ipam, observed
from peering.resources.fields import Spec

UNDERLAY = "underlay.io/v1alpha1"
_CALICO = ("projectcalico.org/v3", "crd.projectcalico.org/v1", UNDERLAY)


@dataclass(frozen=True, slots=True)
class Kind:
    """A row of the table. `declared` kinds come from the admin, `observed` ones from our processes."""

    name: str
    plural: str
    spec: type[Spec]
    api_versions: tuple[str, ...]
    writer: Literal["declared", "observed"] = "declared"


_ROWS = (
    Kind("BGPConfiguration", "bgpconfigurations", calico.BGPConfigurationSpec, _CALICO),
    Kind("BGPPeer", "bgppeers", calico.BGPPeerSpec, _CALICO),
    Kind("IPPool", "ippools", calico.IPPoolSpec, _CALICO),
    Kind("Node", "nodes", calico.NodeSpec, _CALICO),
    Kind("Rack", "racks", fabric.RackSpec, (UNDERLAY,)),
    Kind("Switch", "switches", fabric.SwitchSpec, (UNDERLAY,)),
    Kind("Secret", "secrets", observed.SecretSpec, ("v1",)),
    Kind("BlockAffinity", "blockaffinities", ipam.BlockAffinitySpec, _CALICO, "observed"),
    Kind("IPAMBlock", "ipamblocks", ipam.IPAMBlockSpec, _CALICO, "observed"),
    Kind("BGPNodeStatus", "bgpnodestatuses", observed.BGPNodeStatusSpec, (UNDERLAY,), "observed"),
)

KINDS: dict[str, Kind] = {row.name: row for row in _ROWS}

#: Kinds whose change may change the plan.
PLAN_KINDS = ("BGPConfiguration", "BGPPeer", "IPPool", "Node", "Rack", "Switch")


def kind_named(text: str) -> Kind | None:
    """A kind by its name, plural or lower-case form, as `underlay get` takes it."""
    wanted = text.lower()
    for kind in KINDS.values():
        if wanted in (kind.name.lower(), kind.plural, kind.name.lower() + "s"):
            return kind
    return None
