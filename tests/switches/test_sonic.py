"""What is only true of SONiC. No schema of it is in a package, so tables are looked at against each other only."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from fabric_templates.render import render
from tests.switches.matrix import BASE, build, cases
from tests.switches.scenarios import SCENARIOS

Tables = dict[str, dict[str, dict[str, Any]]]


@cache
def every() -> list[tuple[str, Tables]]:
    return [(name, json.loads(render("tor-1a", plan)["config_db.json"])) for name, plan in cases("sonic").items()]


def tables_of(**options: str) -> Tables:
    tables: Tables = json.loads(render("tor-1a", build(BASE | options, "sonic"))["config_db.json"])
    return tables


def keys(tables: Tables, table: str, place: int) -> set[str]:
    return {key.split("|")[place] for key in tables.get(table, {})}


def values(tables: Tables, table: str, field: str) -> set[str]:
    found: set[str] = set()
    for row in tables.get(table, {}).values():
        value = row.get(field, [])
        found |= set(value if isinstance(value, list) else [value])
    return found


def test_every_value_is_text_or_a_list_of_texts() -> None:
    """CONFIG_DB is a Redis database; frrcfgd compares with `true`, the word."""
    for case, tables in every():
        for table, rows in tables.items():
            for key, row in rows.items():
                for field, value in row.items():
                    texts = value if isinstance(value, list) else [value]
                    assert all(isinstance(one, str) and one for one in texts), (case, table, key, field)


def test_every_name_that_is_used_is_defined() -> None:
    for case, tables in every():
        groups, maps = keys(tables, "BGP_PEER_GROUP", 1), keys(tables, "ROUTE_MAP_SET", 0)
        assert values(tables, "BGP_NEIGHBOR", "peer_group_name") <= groups, case
        assert values(tables, "BGP_GLOBALS_LISTEN_PREFIX", "peer_group") <= groups, case
        assert keys(tables, "BGP_PEER_GROUP_AF", 1) == groups, case
        assert keys(tables, "BGP_NEIGHBOR_AF", 1) == keys(tables, "BGP_NEIGHBOR", 1), case
        for field in ("route_map_in", "route_map_out"):
            assert values(tables, "BGP_PEER_GROUP_AF", field) <= maps, case
        assert keys(tables, "ROUTE_MAP", 0) == maps, case
        for field, table in (
            ("match_as_path", "AS_PATH_SET"),
            ("match_community", "COMMUNITY_SET"),
            ("match_prefix_set", "PREFIX_SET"),
            ("match_ipv6_prefix_set", "PREFIX_SET"),
        ):
            assert values(tables, "ROUTE_MAP", field) <= keys(tables, table, 0), (case, field)
        assert keys(tables, "PREFIX", 0) == keys(tables, "PREFIX_SET", 0), case


def test_a_prefix_set_has_the_family_of_its_prefixes() -> None:
    for case, tables in every():
        for key in tables.get("PREFIX", {}):
            name, prefix, _ = key.split("|")
            assert tables["PREFIX_SET"][name]["mode"] == ("IPv6" if ":" in prefix else "IPv4"), (case, key)


def test_a_list_without_prefixes_denies_all() -> None:
    prefixes = tables_of(accept="none", fabric="none")["PREFIX"]
    assert prefixes["UNDERLAY-ACCEPT-V4|0.0.0.0/0|0..32"] == {"action": "deny"}


def test_a_session_is_on_in_its_own_families_only() -> None:
    """A group that is on would switch its family on for every neighbour in it."""
    tables = tables_of(transport="both", fabric="two-families", neighbors="named-and-range")
    on = {key for key, row in tables["BGP_PEER_GROUP_AF"].items() if "admin_status" in row}
    assert on == {f"default|UNDERLAY-LISTEN-65101-V{v}|ipv{v}_unicast" for v in (4, 6)}
    own = {key for key in tables["BGP_NEIGHBOR_AF"] if ("ipv6" in key) is not (":" in key)}
    assert own == set()


def test_the_vrf_of_the_switch_is_in_every_key() -> None:
    for case, tables in every():
        for table in ("BGP_GLOBALS", "BGP_NEIGHBOR", "BGP_PEER_GROUP", "STATIC_ROUTE", "BGP_GLOBALS_AF_NETWORK"):
            assert keys(tables, table, 0) <= {"default"}, (case, table)


#: The designs as far as the platform can say them: the other golden files refuse
#: passwords and long-lived graceful restart.
FEWER = {"password": "none", "longLived": "none"}
GOLDEN = Path(__file__).parent / "golden_fewer"


@pytest.mark.parametrize("name", SCENARIOS)
def test_golden_of_what_it_can_say(name: str, equals_golden: Callable[[Path, str], None]) -> None:
    files = render("tor-1a", build(BASE | SCENARIOS[name] | FEWER, "sonic"))
    for file, text in files.items():
        equals_golden(GOLDEN / "sonic" / name / file, text)
