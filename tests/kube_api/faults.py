"""What can be made to go wrong: answers that fail, watches that are cut, a view that is old."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import cycle

from tests.kube_api.errors import Refused

#: Seconds after which a request that is not answered is given up by the server.
HANGS_S = 3600.0


@dataclass(frozen=True)
class Fault:
    """`code` is answered instead; 0 is no answer at all. `late`: the request is carried out, its answer is lost."""

    code: int
    late: bool = False
    retry_after: str = ""

    def refusal(self) -> Refused:
        headers = {"Retry-After": self.retry_after} if self.retry_after else {}
        return Refused(self.code, "fault", headers=headers)


@dataclass
class Faults:
    """`next_fault` is asked once per request. `stale_at`: watches see nothing newer than this revision."""

    next_fault: Callable[[str, str], Fault | None] = lambda verb, resource: None
    cut_watches_after: float | None = None
    stale_at: int | None = None
    seen: list[Fault] = field(default_factory=list)

    def ask(self, verb: str, resource: str) -> Fault | None:
        fault = self.next_fault(verb, resource)
        if fault is not None:
            self.seen.append(fault)
        return fault


def every_third(*faults: Fault) -> Callable[[str, str], Fault | None]:
    """The third request, the sixth and so on fail, by each of the faults in turn."""
    turns: Iterator[Fault | None] = cycle([one for fault in faults for one in (None, None, fault)])
    return lambda verb, resource: next(turns)
