"""What the store declares for one node: its part of the plan, its policy, its blocks, its passwords.

The whole snapshot is compiled, because the plan of one node depends on racks, switches and pools; only what
concerns this node leaves this module, its problems included. While the store holds something that cannot be read
(a newer version wrote it, or a hand), the last good plan stays in force: what is missing from it may be just that.

A node is woken by every change in the cluster, so nothing is done twice: documents of a known version are not read
again, and where only blocks or secrets changed, nothing is compiled. In a cluster, of which a speaker need not know all
Nodes, it compiles none that cannot matter to its own plan, either (neighbours.py): where it does know all, because
nodes peer with nodes, the plan of 5,000 takes 110 MiB and seconds. What is wrong among Nodes the controller tells.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from bgp_speaker.node_policy import NodePolicy, node_policy
from peering import pod_cidrs, services
from peering.compile import Compiler
from peering.drain_wish import DrainWish, drain_wish
from peering.neighbours import around
from peering.prefixes import host_prefix
from peering.problems import Problem, errors
from peering.resource import Resource
from peering.resources.bgp_configuration import BGPConfigurationSpec
from peering.resources.catalog import PLAN_KINDS
from peering.resources.ipam import BlockAffinitySpec
from peering.services import Announced
from peering.session import SecretKeyRef, SpeakerPlan
from peering.snapshot import Snapshot
from peering.store.passwords import references, resolve
from peering.store.protocol import Store
from peering.store.resources import Loader

#: What a speaker watches. Blocks of other nodes wake it too; they cost one comparison.
WATCHED = (*PLAN_KINDS, "Secret", "BlockAffinity", *services.KINDS)

_DECLARE_SESSIONS = ("Rack", "RouteReflector", "BGPPeer")


@dataclass(frozen=True, slots=True)
class NodeView:
    """`plan` is None while there is no such Node: then nothing is announced and every session goes.

    `blocks` are the node's own, claimed ones and podCIDRs; `borrowed` prefixes of single addresses that it has in
    blocks of others, `lent` those that others have in its own. `others_peer`: another node has sessions in the plan;
    or, where no other is known, sessions are declared and this node has none of them. `services` are the service
    addresses that it announces, `drain` is what is wanted of it.
    """

    plan: SpeakerPlan | None = None
    policy: NodePolicy = field(default_factory=NodePolicy)
    node: Resource | None = None
    pools: tuple[Resource, ...] = ()
    blocks: tuple[str, ...] = ()
    borrowed: tuple[str, ...] = ()
    lent: tuple[str, ...] = ()
    passwords: Mapping[SecretKeyRef, str] = field(default_factory=dict, repr=False)
    problems: tuple[Problem, ...] = ()
    others_peer: bool = False
    services: Announced = services.NOTHING
    drain: DrainWish = field(default_factory=DrainWish)


@dataclass(frozen=True, slots=True)
class _Compiled:
    """What was made of the declared resources; `inputs` are those that were compiled."""

    inputs: tuple[Resource, ...]
    plan: SpeakerPlan | None
    policy: NodePolicy
    node: Resource | None
    pools: tuple[Resource, ...]
    problems: tuple[Problem, ...]
    others_peer: bool
    configuration: BGPConfigurationSpec
    drain: DrainWish


class ViewReader:
    """Reads the view of one node again and again."""

    def __init__(self, store: Store, node: str) -> None:
        self._store = store
        self._name = node
        self._loader = Loader(store)
        self._compiler = Compiler()
        self._declared: tuple[Resource, ...] = ()
        self._last: _Compiled | None = None
        self._good: _Compiled | None = None

    async def read(self) -> NodeView:
        """The view as the store declares it now. Raises StoreError."""
        resources, _, unreadable = await self._loader.load(WATCHED)
        compiled = self._compile([r for r in resources if r.kind in PLAN_KINDS])
        in_force = compiled
        if unreadable and self._good is not None and self._good.plan is not None:
            in_force = self._good
        else:
            self._good = compiled
        plan = in_force.plan
        affinities = [cast(BlockAffinitySpec, r.spec) for r in resources if r.kind == "BlockAffinity"]
        blocks = _blocks(affinities, self._name, pod_cidrs.of_node(in_force.node, in_force.pools))
        return NodeView(
            plan=plan,
            policy=in_force.policy,
            node=in_force.node,
            pools=in_force.pools,
            blocks=blocks,
            borrowed=_addresses(one for one in affinities if one.node == self._name and one.cidr not in blocks),
            lent=_addresses(one for one in affinities if one.node != self._name and one.cidr in blocks),
            passwords=await resolve(self._store, references(plan.sessions if plan else ())),
            problems=(*unreadable, *compiled.problems),
            others_peer=in_force.others_peer,
            services=self._services(in_force, resources),
            drain=in_force.drain,
        )

    def _services(self, in_force: _Compiled, resources: list[Resource]) -> Announced:
        labels = in_force.node.labels if in_force.node else {}
        return services.announced_services(in_force.configuration, resources, self._name, labels)

    def _compile(self, declared: list[Resource]) -> _Compiled:
        last = self._last
        if last is None or not _same(self._declared, declared):
            self._declared = tuple(declared)
            last = self._last = self._compiled(Snapshot(declared), last)
        return last

    def _compiled(self, known: Snapshot, last: _Compiled | None) -> _Compiled:
        snapshot = around(self._name, known) if self._store.keeps_statuses else known
        inputs = tuple(snapshot)
        if last is not None and _same(last.inputs, inputs):
            return last
        compiled = self._compiler.plan(snapshot)
        plan = compiled.speakers.get(self._name)
        sessions = plan.sessions if plan else ()
        mine = {f"Node/{self._name}", *(s.source for s in sessions)}
        return _Compiled(
            inputs=inputs,
            plan=plan,
            policy=node_policy(snapshot, self._name, sessions),
            node=snapshot.get("Node", self._name),
            pools=tuple(snapshot.all("IPPool").values()),
            problems=tuple(p for p in errors(compiled.problems) if p.object in mine),
            configuration=snapshot.configuration(),
            drain=drain_wish(snapshot, self._name),
            others_peer=_others_peer(snapshot, compiled.speakers, self._name, snapshot is known),
        )


def _others_peer(snapshot: Snapshot, speakers: Mapping[str, SpeakerPlan], node: str, knows_all: bool) -> bool:
    """Where the others are not to be seen, what is declared has to tell: a speaker in a cluster may see its own alone.

    `knows_all`: no node that it does see was left out.
    """
    others = [plan for name, plan in speakers.items() if name != node]
    if any(plan.sessions for plan in others):
        return True
    if others and knows_all:
        return False
    own = speakers.get(node)
    return own is not None and not own.sessions and any(snapshot.all(kind) for kind in _DECLARE_SESSIONS)


def _same(one: Sequence[Resource], other: Sequence[Resource]) -> bool:
    """Whether they are the same objects; the loader keeps what did not change."""
    return len(one) == len(other) and all(a is b for a, b in zip(one, other, strict=True))


def _blocks(affinities: Iterable[BlockAffinitySpec], node: str, pod_cidrs: Iterable[str]) -> tuple[str, ...]:
    claimed = (a.cidr for a in affinities if (a.type, a.node, a.state) == ("host", node, "confirmed"))
    return tuple(sorted({*claimed, *pod_cidrs}))


def _addresses(affinities: Iterable[BlockAffinitySpec]) -> tuple[str, ...]:
    """What borrowers have listed; others list nothing."""
    return tuple(sorted(host_prefix(one.address) for affinity in affinities for one in affinity.addresses))
