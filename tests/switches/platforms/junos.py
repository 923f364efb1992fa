"""Junos: Juniper's XSD for the words and their types, and junoscfg's reader for what they mean.

The XSD has no ranges of numbers, and neither looks whether a policy that is named is there: see test_junos.py.
"""

from __future__ import annotations

from peering.session import SwitchPlan
from tests.switches.facts import differences, facts_of, features_of
from tests.switches.judges import Break, Files, Judge
from tests.switches.platforms import junos_parser

#: Not ttl_security: `ttl 255` says one hop, and what is behind `multihop ttl 255` is not in the file. Nor descriptions:
#: what Junos cannot take inside a text is `_` in them.
READS = frozenset(
    """
    asn router_id networks aggregates remote_asn local_asn local_address passive port hold password multihop bfd
    bfd_receive bfd_transmit bfd_multiplier rr_client as_override allow_as_in next_hop max_prefixes add_paths long_lived
    families import_maps export_maps limit entries
    """.split()  # noqa: SIM905 - thirty lines of quotes are harder to read
)


def known(files: Files, plan: SwitchPlan) -> list[str]:
    return junos_parser.unknown(files["underlay.set"])


def same_facts(files: Files, plan: SwitchPlan) -> list[str]:
    """A list without entries is not written; that nothing names it is looked at by test_junos.py."""
    found = junos_parser.facts(files["underlay.set"])
    empty = {key: said for key, said in facts_of(plan).items() if said.get("entries") == frozenset()}
    return differences(plan, {**empty, **found}, READS)


JUDGES = (
    Judge(
        level="schema",
        name="Juniper's XSD of Junos 24.4 (`junoscfg`)",
        complaints=known,
        breaks=(
            Break(r"hold-time \d+", "hold-tyme 9"),
            Break(r"type external", "type exterior"),
            Break(r"multiple-as", "many-as"),
            Break(r"local-address \S+", "local-address 10.1.1.300"),
            Break(r"prefix-length-range /26-/26", "prefix-length-range 26-26"),
            Break(r" unicast loops \d", " loops 2"),
            Break(r"then community delete \S+", "then community drop X"),
            Break(r"teardown 80 idle-timeout", "teardown 80 idle-time"),
            Break(r"origin incomplete", "origin unknown"),
        ),
    ),
    Judge(
        level="read back",
        name="`junoscfg`",
        complaints=same_facts,
        breaks=(
            Break(r"peer-as \d+", "peer-as 65123"),
            Break(r"neighbor 10.1.1.3 peer-as", "neighbor 10.1.1.4 peer-as"),
            Break(r"/26-/26", "/25-/26"),
            Break(r"advertise-peer-as", "as-override"),
            Break(r"peer-limit \d+", "peer-limit 5"),
            Break(r"maximum 64", "maximum 63"),
            Break(r"aggregate route (\S+) brief", r"aggregate route \1 full"),
            Break(r"from protocol aggregate", "from protocol static"),
        ),
        proves=features_of(READS - {"hold"}),
    ),
)
