"""A tree of SR Linux (JSON, RFC 7951) as the commands of its CLI that make the same.

containerlab merges a startup configuration of commands into the factory configuration; a JSON file would take its
place, with management and certificates. The one is the other written flat: a container is a word, a list entry is the
list's name and its keys, a leaf is a name and a value. Of two keys the first stands alone, the others have their names.
Module names in front of nodes and identities are left out: the CLI has none. Pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

#: The keys of lists, by the list's name; of lists that are not here the key is the first of `_USUAL` that an entry has.
_KEYS: Mapping[str, tuple[str, ...]] = {
    "address": ("ip-prefix",),
    "afi-safi": ("afi-safi-name",),
    "match": ("prefix",),
    "neighbor": ("peer-address",),
    "nexthop": ("index",),
    "prefix": ("ip-prefix", "mask-length-range"),
    "route": ("prefix",),
    "subinterface": ("index",),
}
_USUAL = ("name", "group-name", "id", "index")
_MODULE = re.compile(r"^[a-z][a-z0-9_]*(-[a-z0-9_]+)*:(?=[a-z])")
_IDENTITY = re.compile(r"^srl_nokia-[a-z0-9-]+:")
_BARE = re.compile(r"[A-Za-z0-9_./:+@-]+\Z")


def commands(tree: Mapping[str, Any]) -> list[str]:
    """One `set / ...` for each leaf, and for each container and entry that has none."""
    return [f"set / {' '.join(words)}" for words in _walk(tree)]


def _walk(tree: Mapping[str, Any]) -> Iterator[list[str]]:
    for key, value in tree.items():
        name = _MODULE.sub("", key)
        if isinstance(value, Mapping):
            yield from _under([name], value)
        elif isinstance(value, Sequence) and value and isinstance(value[0], Mapping):
            for entry in value:
                keys = keys_of(name, entry)
                rest = {k: v for k, v in entry.items() if k not in keys}
                yield from _under([name, *_entry(entry, keys)], rest)
        else:
            yield [name, _value(value)]


def _under(words: list[str], tree: Mapping[str, Any]) -> Iterator[list[str]]:
    if not tree:
        yield words
    for more in _walk(tree):
        yield words + more


def keys_of(name: str, entry: Mapping[str, Any]) -> tuple[str, ...]:
    """The keys of a list's entry. Raises ValueError for a list that the table does not know."""
    keys = _KEYS.get(name) or tuple(key for key in _USUAL if key in entry)[:1]
    if not keys or any(key not in entry for key in keys):
        raise ValueError(f"the keys of SR Linux's list {name} are not known")
    return keys


def _entry(entry: Mapping[str, Any], keys: tuple[str, ...]) -> Iterator[str]:
    yield _value(entry[keys[0]])
    for key in keys[1:]:
        yield from (key, _value(entry[key]))


def _value(value: Any) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[ {' '.join(_value(one) for one in value)} ]"
    if isinstance(value, bool):
        return str(value).lower()
    text = _IDENTITY.sub("", str(value))
    return text if _BARE.match(text) else json.dumps(text)
