"""Documents of every kind made from its schema, mostly of plausible values, for tests that want inputs of any shape."""

from __future__ import annotations

import functools
import re
from typing import Any

from hypothesis import strategies as st

from peering.crds.schema import structural_schema
from peering.resources.catalog import KINDS, UNDERLAY, Kind

Schema = dict[str, Any]
Document = dict[str, Any]

NAMES = ("node-1", "node-2", "tor-1a", "tor-1b", "rack-1", "rr-1", "drop-all", "fast", "default", "key")
_CIDRS = ("10.1.1.0/24", "10.244.0.0/16", "10.0.1.1/32", "fd00:1:1::/64", "fd00:10:244::/48", "0.0.0.0/0", "::/0")
_ADDRESSES = ("10.1.1.0", "10.1.1.1", "10.0.11.1", "10.0.1.1", "fd00:1:1::1", "fd00:0:11::1", "fe80::1", "0.0.0.0")
_INTERFACES = (
    "10.1.1.1/31",
    "10.1.1.0/31",
    "10.0.11.1/32",
    "10.1.1.7/24",
    "fd00:1:1::1/127",
    "fd00:0:11::1",
    "10.0.1.1",
)
_SELECTORS = ("all()", "", "rack == 'rack-1'", "!has(rack)", "has(rr)", "rack in {'a', 'rack-1'} && has(x)")
_DURATIONS = ("9s", "3s", "90s", "1m30s", "0s", 9, 30, 4095, "70000s")
_AS_NUMBERS = (64512, 65011, 65101, "65101", "1.10", 4200000000)
_COMMUNITIES = ("65000:100", "65000:1:2", "no-export", "blue")

#: Values by what the name of a field ends in; the first that fits.
_BY_NAME = (
    (r"(?i)cidrs?$|subnets$|prefixes$", _CIDRS),
    (r"^(ipv4|ipv6)Address$|^addresses$|^linkAddresses$", _INTERFACES),
    (r"(?i)peerIP$|^address$|localAddress|reachableBy|PeeringIPV", (*_ADDRESSES, "10.1.1.0:1790", "[fd00::1]:179")),
    (r"(?i)selector$", _SELECTORS),
    (r"(?i)(router|cluster)ID$", ("10.0.11.1", "10.0.1.1", "244.0.0.1")),
    (r"(?i)asNumber$|^prefix$|^asPathPrefix$", _AS_NUMBERS),
    (r"Interval$", ("300ms", "1s", 50)),
    (r"(?i)time$|retry$", _DURATIONS),
    (r"^value$|^values$|^communities$", _COMMUNITIES),
    (r"", NAMES),
)
_NO_VALUES: tuple[Any, ...] = (
    *(None, "", "x y", -1, 0, 2**40, 1.5, float("nan"), True, "\ud800", "²", "1" * 5000),
    *([], {}, [None], {"a": 1}),
)
JUNK = st.sampled_from(_NO_VALUES)
_MOST_FIELDS = 5


def values(schema: Schema, name: str = "", *, junk: bool = True) -> st.SearchStrategy[Any]:
    """What may stand at this place, by its schema and its name; with `junk` now and then something else."""
    plausible = _plausible(schema, name, junk)
    return st.one_of(*[plausible] * 15, JUNK) if junk and name else plausible


def _plausible(schema: Schema, name: str, junk: bool) -> st.SearchStrategy[Any]:
    if "properties" in schema:
        return _objects(schema, junk)
    if "items" in schema:
        return st.lists(values(schema["items"], name, junk=junk), min_size=schema.get("minItems", 0), max_size=3)
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema.get("type") == "boolean":
        return st.booleans()
    if schema.get("type") in ("integer", "number"):
        low = schema.get("minimum", 0)
        return st.integers(low, min(schema.get("maximum", 99), low + 300))
    return st.sampled_from(next(pool for pattern, pool in _BY_NAME if re.search(pattern, name)))


def _objects(schema: Schema, junk: bool) -> st.SearchStrategy[Document]:
    """The required fields and a few others."""
    fields = {field: values(child, field, junk=junk) for field, child in schema["properties"].items()}
    needed = set(schema.get("required", ()))
    others = sorted(set(fields) - needed)
    chosen = st.sets(st.sampled_from(others), max_size=_MOST_FIELDS) if others else st.just(set())
    return chosen.flatmap(lambda more: st.fixed_dictionaries({field: fields[field] for field in sorted(needed | more)}))


_LABELS = st.dictionaries(st.sampled_from(("rack", "rr", "x")), st.sampled_from(("rack-1", "a", "")), max_size=2)


_EXCLUSIVE = ("nodeSelector", "dynamicASNumber", "localAddress", "keepOriginalNextHop", "localWorkloadSelector")


def _whole_peer(spec: Any) -> Any:
    """Most sets of fields of a BGPPeer exclude each other; this one could be a peer."""
    if not isinstance(spec, dict):
        return spec
    whole = {name: value for name, value in spec.items() if name not in _EXCLUSIVE}
    if "peerSelector" in whole:
        return {name: value for name, value in whole.items() if name not in ("peerIP", "asNumber", "reachableBy")}
    return {"peerIP": "10.9.9.9", "asNumber": 65000, **whole}


CRD_KINDS = tuple(kind for kind in KINDS.values() if UNDERLAY in kind.api_versions)
#: Made here: `ast.parse`, which it takes, fails now and then deep inside of Hypothesis (a SystemError of CPython 3.11).
_SCHEMAS = {kind.name: structural_schema(kind.spec) for kind in CRD_KINDS}


@functools.cache
def documents(kind: Kind, *, junk: bool = True) -> st.SearchStrategy[Document]:
    """Whole documents of a kind."""
    spec = values(_SCHEMAS[kind.name], junk=junk)
    if kind.name == "BGPPeer":
        spec = spec | spec.map(_whole_peer)
    return st.fixed_dictionaries(
        {
            "apiVersion": st.just(UNDERLAY),
            "kind": st.just(kind.name),
            "metadata": st.fixed_dictionaries({"name": st.sampled_from(NAMES)}, optional={"labels": _LABELS}),
            "spec": spec,
        }
    )
