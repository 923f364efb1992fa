"""What the store declares for one node: its part of the plan, its blocks, its passwords.

The whole snapshot is compiled, because the plan of one node depends on racks, switches and pools; only what
concerns this node leaves this module, its problems included. While the store holds something that cannot be read
(a newer version wrote it, or a hand), the last good plan stays in force: what is missing from it may be just that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from peering.compile import plan
from peering.problems import Problem, errors
from peering.resource import Resource
from peering.resources.catalog import PLAN_KINDS
from peering.resources.ipam import BlockAffinitySpec
from peering.session import SecretKeyRef, SpeakerPlan
from peering.snapshot import Snapshot
from peering.store.passwords import references, resolve
from peering.store.protocol import Store
from peering.store.resources import load

#: What a speaker watches. Blocks of other nodes wake it too; they cost one comparison.
WATCHED = (*PLAN_KINDS, "Secret", "BlockAffinity")


@dataclass(frozen=True, slots=True)
class NodeView:
    """`plan` is None while there is no such Node: then nothing is announced and every session goes."""

    plan: SpeakerPlan | None = None
    node: Resource | None = None
    pools: tuple[Resource, ...] = ()
    blocks: tuple[str, ...] = ()
    passwords: Mapping[SecretKeyRef, str] = field(default_factory=dict, repr=False)
    problems: tuple[Problem, ...] = ()


async def read_view(store: Store, name: str, last: NodeView | None = None) -> NodeView:
    """The view of the node `name` as the store declares it now; `last` is the one before it."""
    resources, _, unreadable = await load(store, WATCHED)
    snapshot = Snapshot(resources)
    compiled = plan(snapshot)
    mine = compiled.speakers.get(name)
    mine_too = {f"Node/{name}", *(s.source for s in (mine.sessions if mine else ()))}
    problems = [*unreadable, *(p for p in errors(compiled.problems) if p.object in mine_too)]
    node, pools = snapshot.get("Node", name), tuple(snapshot.all("IPPool").values())
    if unreadable and last is not None and last.plan is not None:
        mine, node, pools = last.plan, last.node, last.pools
    return NodeView(
        plan=mine,
        node=node,
        pools=pools,
        blocks=_blocks(snapshot, name),
        passwords=await resolve(store, references(mine.sessions if mine else ())),
        problems=tuple(problems),
    )


def _blocks(snapshot: Snapshot, name: str) -> tuple[str, ...]:
    affinities: Sequence[BlockAffinitySpec] = [
        cast(BlockAffinitySpec, resource.spec) for resource in snapshot.all("BlockAffinity").values()
    ]
    return tuple(sorted(a.cidr for a in affinities if a.node == name and a.state == "confirmed"))
