"""Reads a `.clab.yml` and collects everything that is wrong with it, each mistake with its place and a hint.

Three strengths, as everywhere: `error` refuses the file; `warning` lets it pass; `info` names what containerlab
would act on and a network namespace has no use for (images, the management network, published ports, ...),
so that nothing is ignored in silence. Pure: text in, topology and problems out.

YAML is read with repeated keys refused: PyYAML would keep the last one, and a node written twice would lose
its first half without a word.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Hashable, Iterable, Iterator
from typing import Any

import yaml
from pydantic import ValidationError

from containerlab.topology import NodeDefinition, Topology, TopologyDefinition, build, parse_bind, split_command
from peering.problems import Problem, Severity, errors, ordered

_NODE_KEYS = ("kind", "group", "binds", "exec", "sysctls", "labels", "env")
_NODE_NO_EFFECT = (
    "image", "image-pull-policy", "restart-policy", "license", "type", "startup-config", "startup-delay",
    "enforce-startup-config", "suppress-startup-config", "auto-remove", "ports", "env-files", "user", "entrypoint",
    "cmd", "publish", "runtime", "mgmt-ipv4", "mgmt-ipv6", "network-mode", "cpu", "cpu-set", "memory", "extras",
    "config", "stages", "dns", "certificate", "healthcheck", "aliases", "devices", "cap-add", "shm-size",
    "components", "credentials", "volumes", "hostname", "link-apply-mode", "privileged", "cgroupns-mode",
    "cgroup-parent", "pid-mode", "tmpfs", "security-opts",
)  # fmt: skip
_ROOT_KEYS, _ROOT_NO_EFFECT = ("name", "prefix", "topology"), ("mgmt", "settings", "debug")
_TOPOLOGY_KEYS = ("defaults", "kinds", "groups", "nodes", "links")
_LINK_KEYS, _LINK_NO_EFFECT = ("type", "mtu", "endpoints"), ("labels", "vars")
_END_KEYS, _END_NO_EFFECT = ("node", "interface"), ("mac", "ipv4", "ipv6", "vars")
_KEPT_WITHOUT_EFFECT = ("image", "startup-config")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*\Z")
_INTERFACE = re.compile(r"[^\s/:]{1,15}\Z")
_SYSCTL = re.compile(r"[a-z0-9_]+([./][A-Za-z0-9_-]+)+\Z")
_MTU_MIN, _MTU_MAX, _MTU_IPV6 = 68, 65535, 1280


_MERGE_TAG = "tag:yaml.org,2002:merge"


class _Loader(yaml.SafeLoader):
    """Safe YAML that refuses a key written twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag == _MERGE_TAG:
                continue
            if key_node.value in seen:
                message = f"key {key_node.value!r} is written twice"
                raise yaml.constructor.ConstructorError(None, None, message, key_node.start_mark)
            seen.add(key_node.value)
        return super().construct_mapping(node, deep)


class _Report:
    """Collects the problems of one file."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []

    def add(self, severity: Severity, code: str, path: str, message: str, hint: str = "") -> None:
        self.problems.append(Problem(severity, code, self.file, path, message, hint))

    def error(self, code: str, path: str, message: str, hint: str = "") -> None:
        self.add("error", code, path, message, hint)


def load_topology(text: str, file: str, *, any_kind: bool = False) -> tuple[Topology | None, tuple[Problem, ...]]:
    """The lab of one file and all problems found; the lab is None if any of them is an error.

    `any_kind`: nodes may be of kinds that do not run in a namespace, for those who do not run the lab there.
    """
    report = _Report(file)
    raw = _parse(text, report)
    if raw is not None:
        definition = _definition(raw, report)
        if definition is not None:
            _check_meaning(definition, report, any_kind)
        if definition is not None and not errors(report.problems):
            return build(raw["name"], raw.get("prefix", "clab"), definition), ordered(report.problems)
    return None, ordered(report.problems)


def _parse(text: str, report: _Report) -> dict[str, Any] | None:
    try:
        raw = yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1} column {mark.column + 1}" if mark else ""
        report.error("yaml", where, error.problem or "is not YAML")
        return None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        report.error("yaml", "", f"is not YAML: {error}".replace("\n", " "))
        return None
    if not isinstance(raw, dict):
        report.error("yaml", "", "is not a map", "a topology file starts with `name:` and `topology:`")
        return None
    return raw


def _definition(raw: dict[str, Any], report: _Report) -> TopologyDefinition | None:
    _keys(raw, "", _ROOT_KEYS, _ROOT_NO_EFFECT, report)
    _check_names(raw, report)
    topology = raw.get("topology")
    if not isinstance(topology, dict):
        report.error("missing-key", "topology", "is missing or not a map")
        return None
    known = _keys(topology, "topology", _TOPOLOGY_KEYS, (), report)
    present = {key: value for key, value in known.items() if value is not None}
    shaped = {key: _SHAPES[key](value, f"topology.{key}", report) for key, value in present.items()}
    try:
        return TopologyDefinition.model_validate(shaped)
    except ValidationError as error:
        for one in error.errors():
            parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in one["loc"])
            path = "topology" + "".join(parts)
            # A line that ends in a colon, as many an IPv6 address does, is a map to YAML.
            hint = "put it in quotes" if one["type"] == "string_type" else ""
            report.error("wrong-value", path, one["msg"][:1].lower() + one["msg"][1:], hint)
    return None


def _check_names(raw: dict[str, Any], report: _Report) -> None:
    name, prefix = raw.get("name"), raw.get("prefix", "clab")
    if not isinstance(name, str) or not _NAME.match(name):
        report.error("bad-name", "name", "is missing or no name of a lab", "letters, digits, `-`, `_` and `.`")
    if not isinstance(prefix, str) or (prefix and prefix != "__lab-name" and not _NAME.match(prefix)):
        report.error("bad-name", "prefix", "is no prefix of a name", "letters, digits, `-`, `_`, `.`, or nothing")


def _keys(
    raw: dict[Any, Any], path: str, known: Collection[str], no_effect: Collection[str], report: _Report
) -> dict[str, Any]:
    """The known keys; what has no effect is told, what does not exist is refused with the nearest name."""
    for key in raw:
        where = f"{path}.{key}" if path else str(key)
        if key in no_effect:
            report.add("info", "no-effect", where, "has no effect in a network namespace")
        elif key not in known:
            report.error("unknown-key", where, "is not a key of containerlab", _nearest(key, [*known, *no_effect]))
    return {key: value for key, value in raw.items() if key in known}


def _nearest(word: object, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(str(word), list(known), n=1)
    return f"did you mean {near[0]!r}?" if near else ""


def _node(raw: Any, path: str, report: _Report) -> Any:
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        return raw
    kept = {key: raw[key] for key in _KEPT_WITHOUT_EFFECT if raw.get(key) is not None}
    node = {**_keys(raw, path, _NODE_KEYS, _NODE_NO_EFFECT, report), **kept}
    return {key: value for key, value in node.items() if value is not None}


def _node_map(raw: Any, path: str, report: _Report) -> Any:
    if not isinstance(raw, dict):
        return raw
    for name in raw:
        if not isinstance(name, str) or not _NAME.match(name):
            hint = "letters, digits, `-`, `_` and `.`; quote numbers"
            report.error("bad-name", f"{path}.{name}", "is no name", hint)
    return {str(name): _node(value, f"{path}.{name}", report) for name, value in raw.items()}


def _links(raw: Any, path: str, report: _Report) -> Any:
    if not isinstance(raw, list):
        return raw
    return [_link(link, f"{path}[{index}]", report) for index, link in enumerate(raw)]


def _link(raw: Any, path: str, report: _Report) -> Any:
    if not isinstance(raw, dict):
        return raw
    link = _keys(raw, path, _LINK_KEYS, _LINK_NO_EFFECT, report)
    ends = link.get("endpoints")
    if isinstance(ends, list):
        link["endpoints"] = [_end(end, f"{path}.endpoints[{index}]", report) for index, end in enumerate(ends)]
    return link


def _end(raw: Any, path: str, report: _Report) -> Any:
    if isinstance(raw, str) and raw.count(":") == 1:
        node, interface = raw.split(":")
        return {"node": node, "interface": interface}
    return _keys(raw, path, _END_KEYS, _END_NO_EFFECT, report) if isinstance(raw, dict) else raw


_SHAPES = {"defaults": _node, "kinds": _node_map, "groups": _node_map, "nodes": _node_map, "links": _links}


def _check_meaning(definition: TopologyDefinition, report: _Report, any_kind: bool) -> None:
    if not definition.nodes:
        report.error("missing-key", "topology.nodes", "has no node")
    for path, level in _levels(definition):
        _check_level(path, level, definition, report)
    for name, node in build("", "", definition.model_copy(update={"links": ()})).nodes.items():
        if node.kind != "linux" and not any_kind:
            what = f"kind {node.kind!r} cannot run in a namespace" if node.kind else "has no kind"
            hint = "only `linux` can; deploy the file with containerlab, or take a lab of `lab generate --kind frr`"
            report.error("unsupported-kind", f"topology.nodes.{name}.kind", what, hint)
    _check_links(definition, report)


def _levels(definition: TopologyDefinition) -> Iterator[tuple[str, NodeDefinition]]:
    yield "topology.defaults", definition.defaults
    for section in ("kinds", "groups", "nodes"):
        for name, level in getattr(definition, section).items():
            yield f"topology.{section}.{name}", level


def _check_level(path: str, level: NodeDefinition, definition: TopologyDefinition, report: _Report) -> None:
    # A group that is not under `groups` is only a label to containerlab, so a misspelt one is worth a warning.
    if level.group and definition.groups and level.group not in definition.groups:
        message = f"{level.group!r} is not in topology.groups"
        report.add("warning", "unknown-group", f"{path}.group", message, _nearest(level.group, definition.groups))
    for index, bind in enumerate(level.binds):
        if parse_bind(bind) is None:
            hint = "source:/absolute/target[:ro]"
            report.error("bad-bind", f"{path}.binds[{index}]", f"{bind!r} is no bind", hint)
        elif "__clabDir__" in bind or "__clabNodeDir__" in bind:
            report.error("unsupported-magic", f"{path}.binds[{index}]", "only __clabNodeName__ is replaced here")
    for index, line in enumerate(level.exec):
        if not split_command(line):
            report.error("bad-exec", f"{path}.exec[{index}]", f"{line!r} is no command", "an unclosed quote?")
    for key in level.sysctls:
        if not _SYSCTL.match(key) or not key.startswith("net"):
            report.error("bad-sysctl", f"{path}.sysctls", f"{key!r} is no sysctl of a network namespace",
                         "only `net.*` can be set")  # fmt: skip


def _check_links(definition: TopologyDefinition, report: _Report) -> None:
    used: dict[tuple[str, str], str] = {}
    for index, link in enumerate(definition.links):
        path = f"topology.links[{index}]"
        _check_mtu(link.mtu, f"{path}.mtu", report)
        for position, end in enumerate(link.endpoints):
            where = f"{path}.endpoints[{position}]"
            _check_interface(end.interface, where, report)
            if end.node not in definition.nodes:
                hint = _nearest(end.node, definition.nodes) or "both ends must be nodes of the file"
                report.error("unknown-node", where, f"there is no node {end.node!r}", hint)
            first = used.setdefault((end.node, end.interface), path)
            if first != path or (position and link.endpoints[0] == end):
                message = f"{end.node}:{end.interface} is already used by {first}"
                report.error("interface-used-twice", where, message)


def _check_mtu(mtu: int, path: str, report: _Report) -> None:
    if not _MTU_MIN <= mtu <= _MTU_MAX:
        report.error("bad-mtu", path, f"{mtu} is no MTU of a veth", f"{_MTU_MIN} to {_MTU_MAX}")
    elif mtu < _MTU_IPV6:
        report.add("warning", "mtu-below-ipv6", path, f"{mtu} is too small for IPv6", f"{_MTU_IPV6} at least")


def _check_interface(name: str, path: str, report: _Report) -> None:
    if not _INTERFACE.match(name) or name in ("lo", ".", ".."):
        report.error("bad-interface", path, f"{name!r} is no name of an interface",
                     "1 to 15 characters, no space, `/` or `:`, and not `lo`")  # fmt: skip
    elif name == "eth0":
        report.add("warning", "management-interface", path, "eth0 is containerlab's management interface",
                   "start at eth1")  # fmt: skip
