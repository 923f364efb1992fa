"""What the kernel drops is in the log: at once, and then a line a minute."""

from __future__ import annotations

from typing import Any

from reflector.server.drop_teller import AGAIN, DropTeller
from tests.unit.reflector.server_world import Clock

WRONG, SHORT = "TCPMD5Failure", "TCPMinTTLDrop"


class Kernel:
    """Its counters, and what was told of them."""

    def __init__(self, **counts: int) -> None:
        self.counts = counts
        self.lines: list[tuple[str, int]] = []

    def read(self) -> dict[str, int]:
        return dict(self.counts)

    def log(self, event: str, **fields: Any) -> None:
        assert event == "kernel-drops"
        assert fields["level"] == "warning"
        self.lines.append((fields["counter"], fields["times"]))


def test_the_first_is_told_at_once_and_others_together_after_a_minute() -> None:
    kernel = Kernel(TCPMD5Failure=7, TCPMinTTLDrop=0)
    teller = DropTeller(kernel.log, kernel.read)
    teller.look(0)
    assert kernel.lines == [], "what was there before us"
    kernel.counts[WRONG] = 9
    teller.look(1)
    assert kernel.lines == [(WRONG, 2)]
    kernel.counts[WRONG] = 19
    kernel.counts[SHORT] = 1
    teller.look(2)
    assert kernel.lines[1:] == [(SHORT, 1)]
    teller.look(1 + AGAIN)
    teller.look(1 + 2 * AGAIN)
    assert kernel.lines[2:] == [(WRONG, 10)]


def test_a_kernel_without_such_counters_is_silent() -> None:
    kernel = Kernel()
    DropTeller(kernel.log, kernel.read).look(0)
    assert kernel.lines == []


def test_it_looks_by_itself_until_it_is_stopped() -> None:
    kernel = Kernel(TCPMD5Failure=0)
    loop = Clock()
    teller = DropTeller(kernel.log, kernel.read)
    teller.start(loop)
    for count in (1, 2):
        kernel.counts[WRONG] = count
        loop.ahead += AGAIN
        loop.call_soon(loop.stop)
        loop.run_forever()
    assert kernel.lines == [(WRONG, 1), (WRONG, 1)]
    teller.stop()
    kernel.counts[WRONG] = 3
    loop.ahead += AGAIN
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()
    assert len(kernel.lines) == 2
