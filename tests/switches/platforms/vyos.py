"""VyOS: Ansible's parsers (vyos.vyos) of what `show configuration commands` prints.

They are of VyOS 1.4, and fit the lines of 1.5 in part. Not read are: `peer-group` and `listen` (so nothing of listen
ranges), `local-as`, `ttl-security`, `bfd`, `interface v6only` (so of an unnumbered session no AS), `nexthop-self force`,
`addpath-tx-all`, `maximum-paths`, `enforce-first-as`, `capability extended-nexthop`, lists of paths and communities, and
what a route map strips. Of a neighbour that says `nexthop-self force` the step is unknown, and is not compared.
Static routes are read by code that is no template, and are not asked for here.

Nobody but a device reads the whole file: no package has the definitions that VyOS makes its own parser of.
"""

from __future__ import annotations

from typing import Any

from peering.session import SwitchPlan
from tests.switches.facts import Facts, differences, features_of
from tests.switches.judges import Break, Files, Judge
from tests.switches.platforms.ansible_parsers import Data, parsed, prefix_entries

READS = frozenset(
    (
        *("asn", "router_id", "cluster_id", "networks", "aggregates", "entries", "description", "local_address"),
        *("passive", "port", "hold", "keepalive", "connect_retry", "password", "multihop", "rr_client", "as_override"),
        *("allow_as_in", "max_prefixes", "families", "import_maps", "export_maps"),
    )
)


def read_back(files: Files, plan: SwitchPlan) -> list[str]:
    return differences(plan, _facts(files["underlay.set"].splitlines(), plan), READS)


def _facts(lines: list[str], plan: SwitchPlan) -> Facts:
    """The collection's own code takes the lines of BGP apart so: with the word `address-family`, and without."""
    bgp = [line.replace("'", "") for line in lines if line.startswith("set protocols bgp ")]
    plain = [line for line in bgp if "address-family" not in line]
    instance = parsed("vyos.vyos.bgp_global_14", "Bgp_globalTemplate14", plain)
    families = [line for line in bgp if "address-family" in line]
    of_families = parsed("vyos.vyos.bgp_address_family_14", "Bgp_address_familyTemplate14", families)
    own = [family for family in of_families.get("address_family", {}).values()]
    found: Facts = {
        ("switch", ""): {
            "asn": instance["as_number"],
            **instance["bgp_params"],
            "networks": _prefixes(own, "networks"),
            "aggregates": _prefixes(own, "aggregate_address"),
        },
        **_prefix_lists(lines),
    }
    print(found)
    return found
