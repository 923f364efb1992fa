"""Which links are there, which are missing, and what makes the difference. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from containerlab.topology import Endpoint, Link

Present = Mapping[str, Mapping[str, int]]
"""Node -> interface -> MTU in bytes."""

PerNode = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Wiring:
    """`delete` and `new`: node -> interfaces; `mtu` and `add`: `ip` lines, the first by node, the second for all.

    Deleting one end of a veth deletes the other, so an interface in `delete` may be gone already.
    """

    delete: PerNode
    mtu: PerNode
    add: tuple[str, ...]
    new: PerNode


def rewire(desired: Sequence[Link], made: Sequence[Link], present: Present, namespace: Callable[[str], str]) -> Wiring:
    """From `present` to `desired`; `made`: the links that we made before.

    A link is kept if we made it and both its ends are there. An interface that no link of ours explains is left
    alone, unless it has a name that a missing link needs.
    """
    ours = {_ends(link) for link in made}
    kept = [link for link in desired if _ends(link) in ours and all(_has(present, end) for end in _ends(link))]
    missing = [link for link in desired if link not in kept]
    wanted = {_ends(link) for link in desired}
    unwanted = [link for link in made if _ends(link) not in wanted]
    doomed = [end for link in (*unwanted, *missing) for end in (link.a, link.b) if _has(present, end)]
    return Wiring(
        delete=_by_node((end.node, end.interface) for end in dict.fromkeys(doomed)),
        mtu=_by_node(
            (end.node, f"link set {end.interface} mtu {link.mtu}")
            for link in kept
            for end in (link.a, link.b)
            if present[end.node][end.interface] != link.mtu
        ),
        add=tuple(_add(link, namespace) for link in missing),
        new=_by_node((end.node, end.interface) for link in missing for end in (link.a, link.b)),
    )


def _ends(link: Link) -> frozenset[Endpoint]:
    return frozenset((link.a, link.b))


def _has(present: Present, end: Endpoint) -> bool:
    return end.interface in present.get(end.node, {})


def _by_node(pairs: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for node, value in pairs:
        found[node] = (*found.get(node, ()), value)
    return found


def _add(link: Link, namespace: Callable[[str], str]) -> str:
    a, b = link.a, link.b
    return (
        f"link add {a.interface} mtu {link.mtu} netns {namespace(a.node)} type veth"
        f" peer name {b.interface} mtu {link.mtu} netns {namespace(b.node)}"
    )
