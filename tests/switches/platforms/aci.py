"""ACI: every object has a class, a place and attributes that Cisco's own tools give it. There is no APIC here."""

from __future__ import annotations

import json
from typing import get_args

from fabric_templates.devices import Feature
from peering.session import SwitchPlan
from tests.switches.judges import Break, Files, Judge
from tests.switches.platforms import aci_model

SETTINGS = {
    "tenant": "kubernetes",
    "vrf": "pods",
    "fabricAS": "65011",
    "l3Domain": "racks",
    "physicalDomain": "nodes",
    "node": "101",
    "vlan": "13",
    "address": "10.1.1.2/24",
    "floatingAddress": "10.1.1.254/24",
    "address6": "fd00:1:1::2/64",
    "floatingAddress6": "fd00:1:1::fffe/64",
}


def complaints(files: Files, plan: SwitchPlan) -> list[str]:
    return [one for text in files.values() for one in aci_model.complaints(json.loads(text), aci_model.model())]


JUDGES = (
    Judge(
        level="schema",
        name="classes and attributes of Cisco's cisco.aci and acc-provision",
        complaints=complaints,
        # Communities are kept without a word, so there is none to look at.
        proves=frozenset(get_args(Feature)) - {"keepCommunities"},
        breaks=(
            Break(r'"bgpPeerP"', '"bgpPeer"'),
            Break(r'"holdIntvl"', '"holdInterval"'),
            Break(r"as-override,dis-peer-as-check", "as-override,disable-peer-as-check"),
            Break(r'"maxPfx": "64"', '"maxPfx": "many"'),
            Break(r'"maxPfx": "64"', '"maxPfx": 64'),
            Break(r'"action": "deny"', '"action": "reject"'),
            Break(r'"rtctrlCtxP"', '"rtctrlSubjP"'),
            Break(r'"l3extIp|"l3extVirtualLIfP"', '"bgpPeerP"'),
            Break(r'"localPref"', '"preference"'),
            Break(r'"replace-as"', '"replace"'),
            Break(r'"ctrl": "asPathMultipathRelax"', '"ctrl": "relax"'),
        ),
    ),
)
