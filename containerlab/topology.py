"""A lab as containerlab describes it, resolved: what each node is, and which interfaces are wired together.

Model: containerlab's `.clab.yml` (https://containerlab.dev/manual/topo-def-file/). A node takes its values from
`defaults`, then its kind, then its group, then itself; the later one wins. Of that schema we execute what has a
meaning in a network namespace: links, sysctls, exec, binds, env. `topology_file.py` reads the text and
collects what is wrong with it; this module holds the models and the rules of inheritance, and does no I/O.

Rules of inheritance, as containerlab has them:
- the kind of a node: its own, else its group's, else the one in `defaults`;
- the group of a node: its own, else its kind's, else the one in `defaults`;
- maps (env, labels, sysctls) are merged key by key, lists (exec) are joined with repetitions dropped;
- binds are joined too, but a later bind of the same target replaces the earlier one.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

DEFAULT_MTU = 9500
"""What containerlab gives a veth link that names no MTU, in bytes."""

NODE_NAME = "__clabNodeName__"


def _text(value: object) -> object:
    """Docker takes labels, variables and sysctls as text; YAML gives numbers and booleans too."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


Text = Annotated[str, BeforeValidator(_text)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True, frozen=True)


class NodeDefinition(_Strict):
    """One level of a node's values: `defaults`, a kind, a group, or the node itself."""

    kind: str | None = None
    group: str | None = None
    image: str | None = None
    startup_config: str | None = Field(default=None, alias="startup-config")
    binds: tuple[str, ...] = ()
    exec: tuple[str, ...] = ()
    sysctls: dict[str, Text] = {}
    labels: dict[str, Text] = {}
    env: dict[str, Text] = {}


class EndpointDefinition(_Strict):
    """One end of a link in the extended form."""

    node: str
    interface: str


class LinkDefinition(_Strict):
    """A link in either form; `endpoints` of the short form are already split by the reader."""

    type: Literal["veth"] = "veth"
    mtu: int = DEFAULT_MTU
    endpoints: tuple[EndpointDefinition, EndpointDefinition]


class TopologyDefinition(_Strict):
    """The `topology` key."""

    defaults: NodeDefinition = NodeDefinition()
    kinds: dict[str, NodeDefinition] = {}
    groups: dict[str, NodeDefinition] = {}
    nodes: dict[str, NodeDefinition] = {}
    links: tuple[LinkDefinition, ...] = ()


@dataclass(frozen=True, slots=True)
class Bind:
    """A file or folder of the topology (`source`, relative to its file) that the node sees at `target`."""

    source: str
    target: str
    options: str = ""


@dataclass(frozen=True, slots=True)
class Node:
    """A node with everything inherited; maps keep the order defaults, kind, group, node."""

    name: str
    kind: str
    group: str
    image: str
    binds: tuple[Bind, ...]
    exec: tuple[str, ...]
    sysctls: Mapping[str, str]
    labels: Mapping[str, str]
    env: Mapping[str, str]


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    node: str
    interface: str

    def __str__(self) -> str:
        return f"{self.node}:{self.interface}"


@dataclass(frozen=True, slots=True, order=True)
class Link:
    """A veth pair; `mtu` in bytes holds for both ends."""

    a: Endpoint
    b: Endpoint
    mtu: int


@dataclass(frozen=True, slots=True)
class Topology:
    """A lab that passed every check: nodes in the order of the file, links between existing nodes only."""

    name: str
    prefix: str
    nodes: Mapping[str, Node]
    links: tuple[Link, ...]

    def namespace(self, node: str) -> str:
        """The namespace of a node, named as containerlab names the container: `<prefix>-<lab>-<node>`."""
        if not self.prefix:
            return node
        return f"{self.name}-{node}" if self.prefix == "__lab-name" else f"{self.prefix}-{self.name}-{node}"

    def in_group(self, group: str) -> tuple[Node, ...]:
        return tuple(node for node in self.nodes.values() if node.group == group)

    def interfaces(self, node: str) -> tuple[str, ...]:
        """The interfaces of a node that links give it, in the order of the links."""
        ends = (end for link in self.links for end in (link.a, link.b))
        return tuple(end.interface for end in ends if end.node == node)


def parse_bind(text: str) -> Bind | None:
    """`source:target[:options]`; None if it is not of that form. A target is absolute."""
    parts = text.split(":")
    if len(parts) not in (2, 3) or not parts[0] or not parts[1].startswith("/") or ".." in parts[1].split("/"):
        return None
    return Bind(*parts)


def split_command(line: str) -> tuple[str, ...]:
    """An `exec` line as arguments; containerlab runs it without a shell. Empty if a quote is not closed."""
    try:
        return tuple(shlex.split(line))
    except ValueError:
        return ()


def layers(definition: TopologyDefinition, name: str) -> tuple[NodeDefinition, ...]:
    """The levels that a node takes its values from, weakest first."""
    node, empty = definition.nodes[name], NodeDefinition()
    own_group = definition.groups.get(node.group or "", empty)
    kind = definition.kinds.get(node.kind or own_group.kind or definition.defaults.kind or "", empty)
    group = definition.groups.get(node.group or kind.group or definition.defaults.group or "", empty)
    return definition.defaults, kind, group, node


def resolve(definition: TopologyDefinition, name: str) -> Node:
    """The node with its inherited values; malformed binds are left out, the reader tells them."""
    levels = layers(definition, name)
    defaults, kind, group, node = levels
    binds = (parse_bind(_named(text, name)) for level in levels for text in level.binds)
    return Node(
        name=name,
        kind=node.kind or group.kind or defaults.kind or "",
        group=node.group or kind.group or defaults.group or "",
        image=node.image or group.image or kind.image or defaults.image or "",
        binds=tuple({bind.target: bind for bind in binds if bind}.values()),
        exec=tuple(dict.fromkeys(_named(line, name) for level in levels for line in level.exec)),
        sysctls=_merged(level.sysctls for level in levels),
        labels=_merged(level.labels for level in levels),
        env=_merged(level.env for level in levels),
    )


def build(name: str, prefix: str, definition: TopologyDefinition) -> Topology:
    """The resolved lab; the caller has checked that the links name nodes that exist."""
    return Topology(
        name=name,
        prefix=prefix,
        nodes={node: resolve(definition, node) for node in definition.nodes},
        links=tuple(_link(link) for link in definition.links),
    )


def _link(link: LinkDefinition) -> Link:
    a, b = (Endpoint(end.node, end.interface) for end in link.endpoints)
    return Link(a, b, link.mtu)


def _named(text: str, node: str) -> str:
    return text.replace(NODE_NAME, node)


def _merged(maps: Iterable[Mapping[str, str]]) -> dict[str, str]:
    return {key: value for one in maps for key, value in one.items()}
