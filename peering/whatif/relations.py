"""Sessions of nodes with nodes: which nodes stand to all others as one of them does.

Two nodes are twins when they have the same sessions with every third node, and one that looks the same from both ends
(or none) with each other. In a full mesh all are twins. Twins of twins are twins, so this makes groups.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping

from peering.whatif.fabric import Fabric
from peering.whatif.routers import Edge

#: To whom a node speaks, and how: the labels of its sessions there, in both directions.
_Relation = Mapping[str, tuple[tuple[int, int], ...]]


def relations_of(fabric: Fabric, core: frozenset[str], label: Callable[[Edge], int]) -> dict[str, str]:
    """The group of every node that has a session with a node which does not reflect, named after its first member."""
    relations = {
        router.id: found
        for router in fabric.nodes
        if router.id not in core and (found := _relation(router.out, core, label))
    }
    groups: dict[Hashable, list[str]] = {}
    for name, relation in relations.items():
        apart = frozenset(relation.items())
        groups.setdefault(("apart", apart), []).append(name)
        for way in set(relation.values()):
            groups.setdefault((way, apart | {(name, way)}), []).append(name)
    of: dict[str, str] = {}
    for members in sorted(groups.values(), key=len, reverse=True):
        rest = [name for name in members if name not in of]
        of.update(dict.fromkeys(rest, rest[0]) if rest else {})
    return of


def _relation(edges: list[Edge], core: frozenset[str], label: Callable[[Edge], int]) -> _Relation:
    found: dict[str, list[tuple[int, int]]] = {}
    for edge in edges:
        if edge.receiver.kind == "node" and edge.receiver.id not in core:
            found.setdefault(edge.receiver.id, []).append((label(edge), label(edge.reverse)))
    return {name: tuple(sorted(labels)) for name, labels in found.items()}
