"""`--owners FILE`: who may announce what, where there is no store.

    {"10.0.0.1": ["10.244.0.0/26", "fd00:10:244::/122"],
     "10.0.0.2": ["10.244.0.64/26"],
     "shared":   ["10.96.0.0/12"]}

A JSON object: a client's address -> what it owns. A prefix may have several owners (anycast). What lies in a prefix of
`shared` may be announced by everybody. All mistakes are found at once, each with its place.
"""

from __future__ import annotations

import ipaddress
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from peering.prefixes import Prefix, contains, format_address, format_prefix, pack_address, pack_prefix
from peering.problems import Problem
from peering.resources.fields import kind_of, shown
from reflector.configuration import Owners

SHARED = "shared"

_FORM = '{"10.0.0.1": ["10.244.0.0/26"], "shared": ["10.96.0.0/12"]}'
_OWNER = 'an owner is the address of a client, or "shared" for what everybody may announce'

#: A JSON object as it is written: keys may come twice.
Pairs = list[tuple[str, Any]]
#: A prefix of the file, and where it stands.
Entry = tuple[Prefix, str]


def read_owners(path: Path) -> Owners | list[Problem]:
    """What the file says, or everything that is wrong with it."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        return [_unreadable(str(path), f"cannot be read: {error.strerror}")]
    except UnicodeDecodeError:
        return [_unreadable(str(path), "is not UTF-8")]
    return parse_owners(text, str(path))


def parse_owners(text: str, source: str) -> Owners | list[Problem]:
    """`source` names the text in problems."""
    try:
        document = json.loads(text, object_pairs_hook=_Object)
    except RecursionError:
        return [_unreadable(source, "is nested too deeply")]
    except json.JSONDecodeError as error:
        return [_unreadable(source, f"is not JSON: line {error.lineno}, column {error.colno}: {error.msg}")]
    except ValueError:
        return [_unreadable(source, "is not JSON: it holds a number of thousands of digits")]
    if not isinstance(document, _Object):
        return [_wrong_type(source, "", "an object", document, f"write {_FORM}")]
    return _Reader(source).read(document)


class _Object(Pairs):
    """Told from a list, which JSON has too."""


class _Reader:
    """Collects owners and problems. Owners are by the text of their address."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._problems: list[Problem] = []

    def read(self, document: Pairs) -> Owners | list[Problem]:
        lists: dict[str, list[Entry]] = {}
        for key, value in document:
            path = f"[{json.dumps(key)}]"
            owner = self._owner(key, path)
            entries = list(self._entries(value, path))
            if owner in lists:
                self._bad(path, f"{owner} is given twice", "write its prefixes in one list")
            elif owner is not None:
                lists[owner] = entries
        shared = lists.pop(SHARED, [])
        by_prefix: defaultdict[Prefix, frozenset[str]] = defaultdict(frozenset)
        for owner, entries in lists.items():
            for prefix, path in entries:
                by_prefix[prefix] |= {owner}
                self._check_not_shared(prefix, path, shared)
        return self._problems or Owners(dict(by_prefix), frozenset(prefix for prefix, _ in shared))

    def _owner(self, key: str, path: str) -> str | None:
        if key == SHARED:
            return key
        try:
            return format_address(pack_address(_without_scope(key)))
        except ValueError:
            self._bad(path, f"{shown(key)} is no address", _OWNER)
            return None

    def _entries(self, value: Any, path: str) -> Iterator[Entry]:
        if isinstance(value, _Object) or not isinstance(value, list):
            self._problems.append(_wrong_type(self._source, path, "a list of prefixes", value, ""))
            return
        seen: set[Prefix] = set()
        for index, item in enumerate(value):
            prefix = self._prefix(item, f"{path}[{index}]")
            if prefix in seen:
                self._bad(f"{path}[{index}]", f"{format_prefix(prefix)} is listed twice", "take one of the two out")
            elif prefix is not None:
                seen.add(prefix)
                yield prefix, f"{path}[{index}]"

    def _prefix(self, value: Any, path: str) -> Prefix | None:
        if not isinstance(value, str):
            self._problems.append(_wrong_type(self._source, path, "a prefix in quotes", value, ""))
            return None
        try:
            return pack_prefix(_without_scope(value))
        except ValueError:
            self._bad(path, *_no_prefix(value))
            return None

    def _check_not_shared(self, prefix: Prefix, path: str, shared: list[Entry]) -> None:
        for outer, place in shared:
            if contains(outer, prefix):
                message = f"{format_prefix(prefix)} lies in {format_prefix(outer)} of {place}, which is everybody's"
                self._bad(path, message, "take it out of one of the two")

    def _bad(self, path: str, message: str, hint: str) -> None:
        self._problems.append(Problem("error", "bad-value", self._source, path, message, hint))


def _without_scope(text: str) -> str:
    """Python reads `fe80::1%eth0`, and forgets the interface. Raises ValueError."""
    if "%" in text:
        raise ValueError(text)
    return text


def _no_prefix(text: str) -> tuple[str, str]:
    """What is wrong with it, and what to do."""
    try:
        network = ipaddress.ip_network(_without_scope(text), strict=False)
    except ValueError:
        return f"{shown(text)} is no prefix", "write it as 10.244.0.0/26"
    return f"{text} has host bits set", f"the network is {network}"


def _wrong_type(source: str, path: str, expected: str, value: Any, hint: str) -> Problem:
    found = "an object" if isinstance(value, _Object) else kind_of(value)
    return Problem("error", "wrong-type", source, path, f"expected {expected}, found {found}", hint)


def _unreadable(source: str, message: str) -> Problem:
    return Problem("error", "unreadable-file", source, "", message)
