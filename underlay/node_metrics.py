"""The last report of a node's speaker as metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from bgp_speaker.node_state import NodeState
from peering.resources.observed import BGPNodeStatusSpec, PeerStatus

_LABELS = ("session", "peer")
#: Name, help, and what it is of a session.
_OF_SESSIONS: tuple[tuple[str, str, Callable[[PeerStatus], float]], ...] = (
    ("session_up", "Whether the session is Established.", lambda row: row.state == "Established"),
    ("session_changed_seconds", "When the session came up or went down, in Unix time.", lambda row: row.since),
    ("prefixes_received", "Prefixes that the peer announces.", lambda row: row.received),
    ("prefixes_accepted", "Of these, the ones that are accepted.", lambda row: row.accepted),
    ("prefixes_announced", "Prefixes that the peer is told.", lambda row: row.announced),
)


def exposition(state: NodeState) -> bytes:
    """In Prometheus' text format; nothing before the first report."""
    registry = CollectorRegistry()
    if state.report is not None:
        registry.register(_Report(state.report))
    return generate_latest(registry)


class _Report(Collector):
    def __init__(self, report: BGPNodeStatusSpec) -> None:
        self._report = report

    def collect(self) -> Iterator[Metric]:
        for name, text, value in _OF_SESSIONS:
            family = GaugeMetricFamily(f"underlay_speaker_{name}", text, labels=_LABELS)
            for row in self._report.sessions:
                family.add_metric((row.session, row.peer), value(row))
            yield family
        report = self._report
        yield GaugeMetricFamily("underlay_speaker_blocks", "Blocks of the node.", value=len(report.blocks))
        yield GaugeMetricFamily("underlay_speaker_kernel_routes", "Routes in the kernel.", value=report.kernel_routes)
        yield GaugeMetricFamily("underlay_speaker_problems", "Problems that it reports.", value=len(report.problems))
        restarts = CounterMetricFamily("underlay_speaker_exabgp_restarts", "How often ExaBGP was started again.")
        restarts.add_metric((), report.exabgp_restarts)
        yield restarts
