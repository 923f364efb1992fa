"""A reflector's answers as tables for people: which columns, what stands in them, in which order. Pure but for ages."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from underlay import reports

Row = Mapping[str, Any]
Cells = Sequence[object]


def path_title(answer: Row) -> str:
    """`10.1.0.0/24 (asked for: 10.1.0.7/32): best is node-1, by local preference; owned by node/node-1`."""
    parts = [answer["match"]]
    if answer["match"] != answer["prefix"]:
        parts.append(f" (asked for: {answer['prefix']})")
    best = next((row["from"] for row in answer["rows"] if row["best"]), None)
    parts.append(f": best is {best}, by {answer['reason']}" if best else ": every path is refused")
    if answer["reason"] == "only path":
        parts[-1] = f": best is {best}, the only path"
    if answer["owners"]:
        parts.append(f"; owned by {', '.join(answer['owners'])}")
    if answer["duplicateAnnouncers"]:
        parts.append(f"; announced by {', '.join(answer['duplicateAnnouncers'])}")
    return "".join(parts)


def path_columns() -> list[str]:
    return ["", "FROM", "KIND", "NEXT HOP", "LOCAL PREF", "AS PATH", "ORIGIN", "MED", "COMMUNITIES", "WHY"]


def path_rows(paths: Iterable[Row]) -> Iterator[Cells]:
    """`>` is the best path, `x` a refused one."""
    for row in paths:
        mark = ">" if row["best"] else "" if row["accepted"] else "x"
        yield (
            mark, _who(row), row["kind"], row["nextHop"], _local_pref(row), row["asPath"], row["origin"], row["med"],
            _communities(row), _why(row),
        )  # fmt: skip


def _why(row: Row) -> str:
    if row["refusal"]:
        return f"refused: {row['refusal']['text']}"
    parts = ["best" if row["best"] else f"lost by {row['lostBy']}"]
    if row["stale"]:
        parts.append(row["stale"])
    if row["foreign"]:
        parts.append("the block belongs to another")
    return ", ".join(parts)


def _who(row: Row) -> str:
    return row["from"] if row["pathID"] is None else f"{row['from']} #{row['pathID']}"


def _local_pref(row: Row) -> object:
    """The one that is taken where none is given is in brackets."""
    return "(100)" if row["localPreference"] is None else row["localPreference"]


def _communities(row: Row) -> str:
    return " ".join([*row["communities"], *row["largeCommunities"]])


def _route_cells(row: Row) -> Cells:
    return row["prefix"], _who(row), row["nextHop"], _local_pref(row), row["asPath"], row["paths"]


def _received_cells(row: Row) -> Cells:
    used = f"refused: {row['refusal']['text']}" if row["refusal"] else row["stale"] or "yes"
    return (
        _prefix(row), row["nextHop"], _local_pref(row), row["asPath"], row["origin"], row["med"], _communities(row),
        used,
    )  # fmt: skip


def _advertised_cells(row: Row) -> Cells:
    return (
        _prefix(row), row["from"], row["nextHop"], _local_pref(row), row["asPath"], row["med"], _communities(row),
        row["originatorID"], " ".join(row["clusterList"]),
    )  # fmt: skip


def _prefix(row: Row) -> str:
    return row["prefix"] if row["pathID"] is None else f"{row['prefix']} #{row['pathID']}"


_RECEIVED = ["PREFIX", "NEXT HOP", "LOCAL PREF", "AS PATH", "ORIGIN", "MED", "COMMUNITIES", "USED"]
#: By request: the columns, and the cells of a row.
TABLES: dict[str, tuple[list[str], Callable[[Row], Cells]]] = {
    "routes": (["PREFIX", "FROM", "NEXT HOP", "LOCAL PREF", "AS PATH", "PATHS"], _route_cells),
    "routes-in": (_RECEIVED, _received_cells),
    "refused": (_RECEIVED, _received_cells),
    "routes-out": (
        ["PREFIX", "FROM", "NEXT HOP", "LOCAL PREF", "AS PATH", "MED", "COMMUNITIES", "ORIGINATOR", "CLUSTERS"],
        _advertised_cells,
    ),
}


def in_order(rows: Iterable[Row]) -> list[Row]:
    """By family and address."""
    return sorted(rows, key=lambda row: (row["family"], _address(row["prefix"]), row["pathID"] or 0))


def _address(prefix: str) -> tuple[int, int, str]:
    try:
        network = ipaddress.ip_network(prefix)
    except ValueError:
        return 0, 0, prefix
    return int(network.network_address), network.prefixlen, ""


# Status.


def headline(status: Row) -> str:
    """`reflector/rr-1: AS 64512, router ID 10.0.0.1, ownership enforce, up 2h03m, 3 of 4 neighbours Established`."""
    states = status["neighbors"]
    return (
        f"reflector/{status['reflector']}: AS {status['asn']}, router ID {status['routerID']},"
        f" ownership {status['ownership']}, up {_age(status['since'])},"
        f" {states.get('Established', 0)} of {sum(states.values())} neighbours Established"
    )


def refused_lines(status: Row) -> Iterator[str]:
    """What did not come in, where there is any: by the reflector's reasons, and by the kernel's."""
    for name, words in _REFUSED.items():
        counts = {reason: count for reason, count in status.get(name, {}).items() if count}
        if counts:
            yield f"{words}: {', '.join(f'{reason} {count}' for reason, count in sorted(counts.items()))}"


_REFUSED = {
    "connectionsRefused": "refused connections",
    "sessionsFailed": "failed sessions",
    "kernelDrops": "dropped by the kernel, for all of this network namespace",
}


def neighbor_columns() -> list[str]:
    return [
        "NEIGHBOR",
        "ADDRESS",
        "AS",
        "KIND",
        "STATE",
        "SINCE",
        "RCVD",
        "USED",
        "REFUSED",
        "STALE",
        "FLAPS",
        "REASON",
    ]


def neighbor_rows(rows: Iterable[Row]) -> Iterator[Cells]:
    """The reason is why the session is not up, or why it was down last."""
    for row in rows:
        counts = [
            sum(one[what] for one in row["families"].values()) for what in ("received", "accepted", "refused", "stale")
        ]
        yield (
            row["name"], row["address"], row["asn"], row["kind"], row["state"], _age(row["since"]), *counts,
            row["flaps"], row["lastError"],
        )  # fmt: skip


def condition_line(row: Row) -> str:
    """One line for a condition; one that a newer reflector has is written as it is."""
    name = row["condition"]
    words = CONDITIONS.get(name)
    rest = _item({field: value for field, value in row.items() if field != "condition"})
    return f"{name}: {words(row) if words else rest}"


CONDITIONS: dict[str, Callable[[Row], str]] = {
    "foreign-block": lambda r: f"{r['prefix']} is announced by {_and(r['clients'])}, and {_owned(r)}",
    "duplicate-announcer": lambda r: f"{r['prefix']} is announced by {_and(r['clients'])}, and {_owned(r)}",
    "prefix-limit-near": lambda r: (
        f"{r['neighbor']} announces {r['prefixes']} prefixes of {r['family']}, of at most {r['limit']}"
    ),
    "stale-routes": lambda r: f"{r['neighbor']} is away, and {r['prefixes']} of its prefixes of {r['family']} are kept",
    "prefix-limit": lambda r: f"{r['neighbor']} is kept out: {r['reason']}",
    "stopped": lambda r: f"{r['neighbor']} is stopped: {r['reason']}",
}


def _owned(row: Row) -> str:
    return f"belongs to {_and(row['owners'])}" if row["owners"] else "belongs to nobody"


def _and(names: Sequence[str]) -> str:
    return " and ".join(names)


def detail_rows(view: Row, before: str = "") -> Iterator[Cells]:
    """Field and value, nested ones with dots."""
    for name, value in view.items():
        if isinstance(value, dict) and value:
            yield from detail_rows(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", _value(name, value)


def _value(name: str, value: object) -> object:
    if isinstance(value, list):
        return ", ".join(map(_item, value))
    if isinstance(value, bool):
        return str(value).lower()
    if name in ("since", "until", "startsAgain") and isinstance(value, int):
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(value))
    return value if value != {} else ""


def _item(item: object) -> str:
    return " ".join(f"{name}={value}" for name, value in item.items()) if isinstance(item, dict) else str(item)


def _age(since: float | None) -> str:
    return reports.duration(time.time() - since) if since else ""
