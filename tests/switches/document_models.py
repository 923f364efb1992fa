"""What a SONiC, an SR Linux, an APIC and a gobgpd do with what is said to them, as far as their manuals tell.

Nothing of `fabric_templates.remediation` is in here. JSON patches are carried out by the package jsonpatch, which SONiC
uses, too.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Iterator
from typing import Any

import jsonpatch

Words = tuple[str, ...]

#: The keys of SR Linux' lists, in the order of its YANG files.
_KEYS = {
    "interface": ("name",),
    "network-instance": ("name",),
    "neighbor": ("peer-address",),
    "group": ("group-name", "name"),
    "afi-safi": ("afi-safi-name",),
    "match": ("prefix",),
    "route": ("prefix",),
    "nexthop": ("index",),
    "policy": ("name",),
    "statement": ("name",),
    "prefix-set": ("name",),
    "as-path-set": ("name",),
    "community-set": ("name",),
    "keychain": ("name",),
    "key": ("index",),
}


def patched(running: str, said: Iterable[str]) -> dict[str, Any]:
    """CONFIG_DB after `config apply-patch`, which wants no table empty and every row in a table."""
    text = "\n".join(said)
    tables: dict[str, Any] = jsonpatch.apply_patch(json.loads(running), json.loads(text or "[]"))
    assert all(tables.values()), "a table is empty"
    return tables


class SrLinux:
    """A candidate: {words of a place: its value}, lists of values as such. Places are in the order that they are in."""

    def __init__(self, text: str) -> None:
        self.said: dict[Words, Any] = dict(_flat(json.loads(text), ()))

    def load(self, lines: Iterable[str], shape: SrLinux) -> None:
        """`set` and `delete` lines. `shape` tells where the words of a place end and its value begins."""
        for line in lines:
            verb, root, *words = shlex.split(line)
            assert (root, verb in ("set", "delete")) == ("/", True), line
            if verb == "delete":
                gone = [path for path in self.said if path[: len(words)] == tuple(words)]
                assert gone, line
                self.said = {path: value for path, value in self.said.items() if path not in gone}
            else:
                self._set(tuple(words), shape)

    def _set(self, words: Words, shape: SrLinux) -> None:
        length = next(n for n in range(len(words), 0, -1) if words[:n] in shape.said)
        path, value = words[:length], words[length:]
        if value[:1] == ("[",):
            self.said[path] = [*self.said.get(path, []), *value[1:-1]]
        else:
            self.said[path] = " ".join(value)

    def statements(self) -> list[Words]:
        """Each statement of a policy, with those of one policy in their order."""
        found = [path[: path.index("statement") + 2] for path in self.said if "statement" in path]
        return sorted(dict.fromkeys(found), key=lambda path: path[:-2])


def _flat(tree: Any, path: Words) -> Iterator[tuple[Words, Any]]:
    for key, value in tree.items():
        name = _bare(key)
        if isinstance(value, dict):
            yield from _flat(value, (*path, name))
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for entry in value:
                yield from _entry(name, entry, path)
        elif isinstance(value, list):
            yield from [((*path, name), [_bare(one) for one in value])] if value else []
        else:
            yield (*path, name), str(value).lower() if isinstance(value, bool) else _bare(str(value))


def _entry(name: str, entry: dict[str, Any], path: Words) -> Iterator[tuple[Words, Any]]:
    if name == "prefix":
        yield (*path, name, entry["ip-prefix"], "mask-length-range", entry["mask-length-range"]), ""
        return
    key = next(key for key in _KEYS[name] if key in entry)
    here = (*path, name, _bare(str(entry[key])))
    rest = list(_flat({k: v for k, v in entry.items() if k != key}, here))
    yield from rest or [(here, "")]


def _bare(word: str) -> str:
    return re.sub("^srl_nokia-[a-z-]+:", "", word)


#: What an object of the APIC is known by among those of its class in its parent.
_NAMING = {
    "rtctrlMatchRtDest": ("ip",),
    "rtctrlMatchCommFactor": ("community",),
    "rtctrlRsCtxPToSubjP": ("tnRtctrlSubjPName",),
    "l3extSubnet": ("ip",),
    "l3extRsNodeL3OutAtt": ("tDn",),
    "l3extLoopBackIfP": ("addr",),
    "l3extVirtualLIfP": ("nodeDn", "encap"),
    "l3extRsDynPathAtt": ("tDn",),
    "l3extRsPathL3OutAtt": ("tDn",),
    "ipRouteP": ("ip",),
    "ipNexthopP": ("nhAddr",),
    "bgpPeerP": ("addr",),
    "bgpRsPeerToProfile": ("tDn", "direction"),
}
_FLAGS = ("ctrl", "peerCtrl", "addrTCtrl", "enforceRtctrl")


class Apic:
    """{(class and name of each object on the way): its attributes}."""

    def __init__(self, *texts: str) -> None:
        self.objects: dict[Words, dict[str, str]] = {}
        for text in texts:
            self.post(text)

    def post(self, text: str) -> None:
        for kind, content in json.loads(text).items():
            self._post(kind, content, ())

    def _post(self, kind: str, content: dict[str, Any], above: Words) -> None:
        attributes = dict(content.get("attributes", {}))
        name = [attributes[key] for key in _NAMING.get(kind, ("name",)) if key in attributes]
        here = (*above, f"{kind} {' '.join(name)}")
        if attributes.pop("status", "") == "deleted":
            assert here in self.objects, here
            self.objects = {p: a for p, a in self.objects.items() if p[: len(here)] != here}
            return
        known = self.objects.setdefault(here, {"ttl": "1", "allowedSelfAsCnt": "3"} if kind == "bgpPeerP" else {})
        known |= attributes
        for child in content.get("children", ()):
            for inside, its in child.items():
                self._post(inside, its, here)

    def get(self) -> str:
        """What it answers for the tenant: with what it made itself, without passwords, flags in its own order."""
        return json.dumps({"totalCount": "1", "imdata": self._answer(())})

    def _answer(self, above: Words) -> list[dict[str, Any]]:
        found = []
        for path in [p for p in self.objects if p[:-1] == above]:
            kind = path[-1].split(" ")[0]
            flags = {
                k: ",".join(sorted(v.split(","), reverse=True)) for k, v in self.objects[path].items() if k in _FLAGS
            }
            shown = {k: v for k, v in self.objects[path].items() if k != "password"}
            children = self._answer(path)
            if kind == "bgpPeerP" and not any("bgpRsPeerPfxPol" in child for child in children):
                children.append({"bgpRsPeerPfxPol": {"attributes": {"tnBgpPeerPfxPolName": ""}}})
            children.append({"faultDelegate": {"attributes": {"code": "F0467"}}})
            attributes = {"annotation": "", "nameAlias": "", "userdom": ":all:"} | shown | flags
            found.append({kind: {"attributes": attributes, "children": children}})
        return found

    def seen(self) -> dict[Words, dict[str, str]]:
        """Its objects without passwords, flags as one order of them."""
        return {
            path: {k: ",".join(sorted(v.split(","))) if k in _FLAGS else v for k, v in own.items() if k != "password"}
            for path, own in self.objects.items()
        }
