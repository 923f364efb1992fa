"""Events: which of them are written, and how they stand in the cluster."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest

from bgp_speaker.session_events import exabgp_event, session_event
from peering.compile import plan
from peering.store.kubernetes import event_series
from peering.store.kubernetes.event_series import (
    LONGEST_WAIT_S,
    MOST,
    REFILL_S,
    SERIES_S,
    STOCK,
    UPDATE_S,
    EventSeries,
    Key,
)
from peering.store.kubernetes.sources import sources_of
from peering.store.protocol import Document, Event
from tests.kube_api.cluster import Cluster, run, until
from tests.kube_api.faults import Fault
from tests.unit.samples import dual_tor

GROUP = "events.k8s.io"
DOWN = Event("SessionDown", "the session with switch/tor-1a (10.1.1.0) is down: hold timer expired", is_warning=True)
UP = Event("SessionUp", "the session with switch/tor-1a (10.1.1.0) is up")


def key(message: str = "m") -> Key:
    return sources_of("BGPNodeStatus", "underlay-system", False)[0], "node-1", Event("R", message)


# Which are written


def written(series: EventSeries, now: float) -> list[tuple[str, int]]:
    """Writes all that may be written at a moment: message and number of each."""
    found = []
    while one := series.take(now):
        found.append((one.key[2].message, one.count))
        one.told = one.count
    return found


def test_the_first_is_written_at_once_and_what_repeats_is_counted_once_a_minute() -> None:
    series = EventSeries()
    series.add(key(), 0)
    assert series.wait(0) == 0
    assert written(series, 0) == [("m", 1)]
    assert series.wait(0) == math.inf
    for second in range(1, 50):
        series.add(key(), second)
        assert written(series, second) == []
    assert series.wait(50) == UPDATE_S - 50
    assert written(series, UPDATE_S - 1) == []
    assert written(series, UPDATE_S) == [("m", 50)]
    assert written(series, 10 * UPDATE_S) == []


def test_what_happens_much_later_is_another_series() -> None:
    series = EventSeries()
    series.add(key(), 0)
    first = series.take(0)
    assert first is not None
    first.told = 1
    series.add(key(), SERIES_S)
    second = series.take(SERIES_S)
    assert second is not None
    assert second is not first
    assert (second.count, second.first, second.told) == (1, SERIES_S, 0)


def test_a_loop_of_ours_costs_a_write_a_minute() -> None:
    """Each with a message of its own, ten a second for an hour."""
    series, writes = EventSeries(), 0
    for tenth in range(36_000):
        series.add(key(str(tenth)), tenth / 10)
        writes += len(written(series, tenth / 10))
    assert STOCK < writes <= STOCK + 3600 / REFILL_S + 1
    assert len(series._series) <= MOST
    assert series.left_out + writes + MOST >= 36_000


def test_a_session_that_flaps_all_day_costs_little() -> None:
    series, writes = EventSeries(), 0
    for second in range(0, 86_400, 5):
        series.add(key("up" if second % 10 else "down"), second)
        writes += len(written(series, second))
    assert 86_400 / UPDATE_S - 1 <= writes <= STOCK + 86_400 / REFILL_S + 1


def test_the_stock_fills_again() -> None:
    series = EventSeries()
    for number in range(STOCK + 5):
        series.add(key(str(number)), 0)
    assert len(written(series, 0)) == STOCK
    assert series.wait(0) == pytest.approx(REFILL_S)
    assert len(written(series, REFILL_S + 0.001)) == 1
    assert len(written(series, 3 * REFILL_S + 0.001)) == 2
    assert len(written(series, 100 * REFILL_S)) == 0, "what waited for so long is left out"
    assert series.left_out == 2


def test_what_could_not_be_written_waits_a_minute_and_counts_on() -> None:
    series = EventSeries()
    series.add(key(), 0)
    assert series.take(0) is not None
    series.add(key(), 10)
    assert series.take(30) is None
    again = series.take(UPDATE_S)
    assert again is not None
    assert (again.told, again.count) == (0, 2)
    assert series.take(LONGEST_WAIT_S + 10) is None
    assert series.left_out == 2


def test_an_event_that_is_gone_is_another_one_when_it_happens_again() -> None:
    series = EventSeries()
    series.add(key(), 0)
    first = series.take(0)
    assert first is not None
    series.end(first)
    series.add(key(), 1)
    second = series.take(1)
    assert second is not None
    assert second.told == 0


# What they say


def test_a_session_is_told_by_who_is_at_its_other_end() -> None:
    sessions = plan(dual_tor()).speakers["node-1"].sessions
    assert session_event(sessions, "10.1.1.0", up=True, reason="") == UP
    assert session_event(sessions, "10.1.1.0", up=False, reason="hold timer expired") == DOWN
    other = session_event(sessions, "192.0.2.1", up=False, reason="")
    assert (other.message, other.is_warning) == ("the session with 192.0.2.1 is down", True)
    assert exabgp_event("killed by SIGKILL").is_warning


# In the cluster


def events(cluster: Cluster) -> list[Document]:
    found: list[Any] = cluster.server.objects.of(cluster.server.resource("events", GROUP), "default")
    return sorted(found, key=lambda one: str(one["note"]))


def report(node: str) -> Document:
    spec = {"node": node}
    return {
        "apiVersion": "underlay.io/v1alpha1",
        "kind": "BGPNodeStatus",
        "metadata": {"name": node},
        "spec": spec,
    }


def test_an_event_has_what_an_api_server_asks_for(tmp_path: Path) -> None:
    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            store = cluster.store()
            await store.update("BGPNodeStatus", "node-1", report("node-1"))
            store.tell("BGPNodeStatus", "node-1", DOWN)
            store.tell("BGPNodeStatus", "node-1", UP)
            await until(lambda: len(events(cluster)) == 2)
            down, up = events(cluster)
            assert (down["type"], down["reason"], down["note"]) == ("Warning", DOWN.reason, DOWN.message)
            assert (up["type"], up["reason"]) == ("Normal", "SessionUp")
            assert down["regarding"] == {
                "apiVersion": "underlay.io/v1alpha1",
                "kind": "BGPNodeStatus",
                "name": "node-1",
                "uid": cluster.server.kept("bgpnodestatuses", "node-1")["metadata"]["uid"],
            }
            assert "series" not in down
            for field in ("eventTime", "reportingController", "reportingInstance", "action"):
                assert down[field]
            for release in ("1.30", "1.37"):
                kubernetes_validate.validate(down, release, strict=True)
            assert down["metadata"]["name"].startswith("node-1.")
            assert down["metadata"]["name"] != up["metadata"]["name"]

    run(story)


def test_what_repeats_is_one_event_with_a_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_series, "UPDATE_S", 0.2)

    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            store = cluster.store()
            store.tell("BGPNodeStatus", "node-1", DOWN)
            await until(lambda: len(events(cluster)) == 1)
            for _ in range(50):
                store.tell("BGPNodeStatus", "node-1", DOWN)
            await until(lambda: events(cluster)[0].get("series", {}).get("count") == 51)
            (event,) = events(cluster)
            assert event["series"]["lastObservedTime"] > event["eventTime"]
            assert event["note"] == DOWN.message
            kubernetes_validate.validate(event, "1.30", strict=True)
            done = {verb: n for (verb, name), n in cluster.server.requests.items() if name == f"events.{GROUP}"}
            assert done == {"create": 1, "patch": 1}

    run(story)


@pytest.mark.parametrize("fault", [Fault(503), Fault(503, late=True), Fault(403)])
def test_events_that_fail_harm_nobody_and_are_written_later(
    fault: Fault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_series, "UPDATE_S", 0.1)

    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            store = cluster.store()
            faults = cluster.server.faults
            faults.next_fault = lambda verb, name: fault if name.endswith(GROUP) and len(faults.seen) < 3 else None
            store.tell("BGPNodeStatus", "node-1", DOWN)
            await store.update("BGPNodeStatus", "node-1", report("node-1"))
            await until(lambda: bool(faults.seen) and len(events(cluster)) == 1)
            store.tell("BGPNodeStatus", "node-1", UP)
            await until(lambda: len(events(cluster)) == 2)
            store.tell("BGPNodeStatus", "node-1", DOWN)
            await until(lambda: events(cluster)[0].get("series", {}).get("count") == 2)

    run(story)


def test_an_event_that_somebody_has_deleted_is_told_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server keeps events for an hour."""
    monkeypatch.setattr(event_series, "UPDATE_S", 0.05)

    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            store = cluster.store()
            store.tell("BGPNodeStatus", "node-1", DOWN)
            await until(lambda: len(events(cluster)) == 1)
            first = events(cluster)[0]["metadata"]["name"]
            await cluster.server.remove("events", first, GROUP, "default")
            store.tell("BGPNodeStatus", "node-1", DOWN)
            await until(lambda: cluster.server.requests["patch", f"events.{GROUP}"] > 0)
            store.tell("BGPNodeStatus", "node-1", DOWN)
            await until(lambda: len(events(cluster)) == 1)
            assert events(cluster)[0]["metadata"]["name"] != first

    run(story)


def test_what_was_left_out_is_said_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_series, "MOST", 3)

    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            store = cluster.store()
            for number in range(7):
                store.tell("BGPNodeStatus", "node-1", Event("R", f"{number} " + "ä" * 700))
            await until(lambda: len(events(cluster)) == 3)
            notes = [one["note"] for one in events(cluster)]
            assert all(len(note.encode()) <= 1024 for note in notes)
            assert [note.endswith("ä (4 other events were left out)") for note in notes] == [True, False, False]

    run(story)


def test_a_store_that_is_closed_writes_no_more(tmp_path: Path) -> None:
    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            store = cluster.store()
            cluster.server.faults.next_fault = lambda verb, name: Fault(503)
            store.tell("BGPNodeStatus", "node-1", DOWN)
            await until(lambda: len(cluster.server.faults.seen) > 0)
            await store.close()
            seen = len(cluster.server.faults.seen)
            cluster.server.faults.next_fault = lambda verb, name: None
            await cluster.store().update("BGPNodeStatus", "node-1", report("node-1"))
            assert (len(cluster.server.faults.seen), events(cluster)) == (seen, [])

    run(story)
