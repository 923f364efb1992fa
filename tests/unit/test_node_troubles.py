"""What is wrong on a node: kept for its report while it lasts, and said once."""

from __future__ import annotations

from bgp_speaker.node_troubles import NodeTroubles


def test_a_trouble_is_said_once_and_kept_until_its_part_is_well() -> None:
    said: list[str] = []
    troubles = NodeTroubles(said.append)
    for _ in range(3):
        troubles.note("ipam", "no block is free")
        troubles.note("report", "somebody else writes it")
    assert said == ["ipam: no block is free", "report: somebody else writes it"]
    assert troubles.now() == ["no block is free", "somebody else writes it"]
    troubles.note("ipam", "")
    assert troubles.now() == ["somebody else writes it"]
    troubles.note("ipam", "no block is free")
    assert said[2:] == ["ipam: no block is free"]
    assert troubles.now() == ["no block is free", "somebody else writes it"]


def test_another_trouble_of_a_part_takes_the_place_of_the_first() -> None:
    said: list[str] = []
    troubles = NodeTroubles(said.append)
    troubles.note("exabgp", "refused: line 3")
    troubles.note("exabgp", "refused: line 4")
    assert troubles.now() == ["refused: line 4"]
    assert len(said) == 2


def test_exabgp_that_cannot_listen_is_heard_until_it_can() -> None:
    said: list[str] = []
    troubles = NodeTroubles(said.append)
    troubles.hear("exabgp: welcome")
    assert troubles.now() == []
    troubles.hear("exabgp: can not bind to 10.0.0.1:179 (address already in use)")
    assert troubles.now() == ["address already in use"]
    assert said[-1] == "listening: address already in use"
    troubles.hear("listening on every address, port 179")
    assert troubles.now() == []
    assert said[0] == "exabgp: welcome"
