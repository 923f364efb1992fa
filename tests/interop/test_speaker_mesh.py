"""Nodes that peer with nodes: real speakers in namespaces, their sessions, and what their kernels route."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.interop.speaker_lab import PASSWORD, Node, SpeakerLab, between, eventually

pytestmark = pytest.mark.lab

Learned = dict[str, set[str]]


def expected(node: Node, *others: Node, families: tuple[int, ...] = (0, 1)) -> Learned:
    """The blocks of the others by way of their addresses."""
    return {other.blocks[f]: {other.addresses[f]} for other in others if other is not node for f in families}


@contextmanager
def never_without(lab: SpeakerLab, node: Node, wanted: Learned) -> Iterator[None]:
    """Looks at the kernel all the time: none of these routes may be missing or changed even once."""
    done = threading.Event()
    lost: list[Learned] = []
    looked = 0

    def watch() -> None:
        nonlocal looked
        while not done.is_set():
            found = lab.routes(node)
            looked += 1
            if {prefix: found.get(prefix) for prefix in wanted} != wanted:
                lost.append(found)
            time.sleep(0.01)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    assert looked > 10
    assert lost == []


def all_up(lab: SpeakerLab, *nodes: Node) -> bool:
    rows = [row for node in nodes for row in lab.rows(node).values()]
    return len(rows) > 0 and all(row.state == "Established" for row in rows)


def settled(lab: SpeakerLab, nodes: list[Node], families: tuple[int, ...]) -> Callable[[], bool]:
    def holds() -> bool:
        routed = all(lab.routes(node) == expected(node, *nodes, families=families) for node in nodes)
        return routed and all_up(lab, *nodes)

    return holds


def test_a_passive_end_listens_and_both_have_the_others_block() -> None:
    with SpeakerLab(2) as lab:
        one, two = lab.nodes
        lab.declare(one, *(between(one, two, is_ipv6=v6, passive=True) for v6 in (False, True)))
        lab.declare(two, *(between(two, one, is_ipv6=v6) for v6 in (False, True)))
        lab.start(one, two)
        eventually(settled(lab, lab.nodes, (0, 1)))
        assert {local for local, _ in lab.connections(one)} == {"10.9.0.1:179", "[fd00:9::1]:179"}
        with never_without(lab, one, expected(one, two)), never_without(lab, two, expected(two, one)):
            for killed in (one, two):
                since = {name: row.since for name, row in lab.rows(two).items()}
                lab.kill_exabgp(killed)
                eventually(lambda since=since: all(row.since != since[n] for n, row in lab.rows(two).items()))  # type: ignore[misc]
                eventually(settled(lab, lab.nodes, (0, 1)))
            lab.kill_agent(one)
            lab.start(one)
            eventually(lambda: "adopted" in lab.said(one))
            eventually(settled(lab, lab.nodes, (0, 1)))


def test_three_that_all_dial_settle_to_one_connection_each_and_heal() -> None:
    with SpeakerLab(3) as lab:
        one, two, three = lab.nodes
        for node in lab.nodes:
            lab.declare(node, *(between(node, other) for other in lab.nodes if other is not node))
        lab.start(*lab.nodes)
        eventually(settled(lab, lab.nodes, (0,)))
        for node in lab.nodes:
            assert len(lab.connections(node)) == 2, lab.connections(node)
        watched = [never_without(lab, node, expected(node, *lab.nodes, families=(0,))) for node in (two, three)]
        with watched[0], watched[1]:
            for _ in range(3):
                restarts = _restarts(lab, one)
                lab.kill_exabgp(one)
                eventually(lambda before=restarts: _restarts(lab, one) > before)  # type: ignore[misc]
                eventually(settled(lab, lab.nodes, (0,)))


def _restarts(lab: SpeakerLab, node: Node) -> int:
    status = lab.status(node)
    assert status is not None
    return status.exabgp_restarts


def test_a_listening_neighbour_that_comes_later_is_listened_for_and_nothing_else_is_touched() -> None:
    password = secrets.token_hex(16)
    with SpeakerLab(3) as lab:
        one, two, three = lab.nodes
        lab.declare(one, between(one, two), listen_port=1790)
        lab.declare(two, between(two, one, passive=True))
        lab.start(one, two)
        eventually(settled(lab, [one, two], (0,)))
        pid, since = lab.exabgp(one), lab.rows(one)["to-node-2-ipv4"].since
        late = between(one, three, passive=True, password=PASSWORD)
        lab.declare(one, between(one, two), late, password=password, listen_port=1790)
        lab.declare(three, between(three, one, password=PASSWORD, peer_port=1790), password=password)
        lab.start(three)
        eventually(lambda: lab.routes(one) == expected(one, two, three, families=(0,)))
        assert [local for local, _ in lab.connections(one, 1790)] == ["10.9.0.1:1790"]
        lab.declare(three, between(three, one, password=PASSWORD, peer_port=1790), password=password[:-1] + "x")
        eventually(lambda: lab.counter(one, "TCPMD5Failure") >= 2)
        assert lab.connections(one, 1790) == []
        assert lab.exabgp(one) == pid
        assert lab.rows(one)["to-node-2-ipv4"].since == since


def test_a_node_that_lost_power_is_back_long_before_the_hold_timer_of_its_passive_peer() -> None:
    with SpeakerLab(2) as lab:
        one, two = lab.nodes
        lab.declare(one, between(one, two, passive=True, hold_time=90))
        lab.declare(two, between(two, one, hold_time=90))
        lab.start(one, two)
        eventually(settled(lab, lab.nodes, (0,)))
        with never_without(lab, one, expected(one, two, families=(0,))):
            lab.power_cycle(two)
            assert lab.connections(one) != []
            lab.start(two)
            eventually(lambda: lab.routes(two) == expected(two, one, families=(0,)), within=15)
            eventually(lambda: "the peer connected anew" in lab.said(one))
            eventually(settled(lab, lab.nodes, (0,)))
