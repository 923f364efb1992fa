"""`push` over a device driver: the switch itself takes a change back unless it is confirmed in time.

running ─► lines ─► candidate ─► the switch's difference ─► commit with a timer ─► sessions up ─► confirm
                                                                    └─► not in time, or interrupted ─► roll back

The timer is the switch's, so a change that cuts the push off is taken back, too. Without one nothing is pushed.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from fabric_templates.remediation import tables
from fabric_templates.remediation.compare import compare
from fabric_templates.remediation.ways import is_back
from peering.problems import Problem, errors
from peering.session import SecretKeyRef, SwitchPlan
from underlay.comparing import check_or_refuse, refusing
from underlay.devices.access import telling
from underlay.devices.device import ConfirmingDevice, DeviceError
from underlay.devices.drivers import Driver, Napalm, confirming, row
from underlay.output import Refused, console, print_problems, print_text
from underlay.output import errors as errors_out

Passwords = Mapping[SecretKeyRef, str]

#: The switch waits so much longer than we do: for the confirmation to arrive, and for what it has to show before.
_MARGIN_S = 30
_MINUTE_S = 60
#: Sessions count as up when they are so at as many looks, a second apart: what a change resets may look up for one.
LOOKS = 3


@dataclass(frozen=True, slots=True)
class Change:
    """What is pushed: to `Switch/NAME`, so that it runs `wanted`. `within`: seconds for the sessions to come up."""

    name: str
    wanted: SwitchPlan
    passwords: Passwords
    within: int
    kept_only: bool

    @property
    def where(self) -> str:
        return f"Switch/{self.name}"

    @property
    def driver(self) -> Napalm:
        found = row(self.wanted.platform).napalm
        if found is None:
            raise ValueError(f"napalm has no driver for {self.wanted.platform}")
        return found


def check_change(change: Change, driver: Driver) -> None:
    """Refuses what cannot be pushed by a driver at all, before anybody logs in."""
    platform = change.wanted.platform.partition("@")[0]
    if driver is not Driver.napalm or platform not in confirming():
        message = f"nothing is pushed to platform {change.wanted.platform!r} over {driver}"
        hint = f"napalm can confirm a change on {', '.join(confirming())}; FRR is pushed to without a driver"
        raise Refused([Problem("error", "platform-not-pushed", change.where, "spec.platform", message, hint)])
    check_or_refuse(change.name, change.wanted, dict(change.passwords))


def push_confirmed(device: ConfirmingDevice, change: Change, *, dry_run: bool) -> None:
    """Pushes, or with `dry_run` shows what the switch says of the candidate. Refuses where it was taken back."""
    with telling(change.where):
        if device.pending():
            message = f"error: {change.where}: a change waits there for its confirmation (wait until its time is over)"
            raise Refused(message=message)
        before = device.running()
        expected = _expected(device, change)
    lines = _lines(change, before)
    if not lines:
        console.print(f"{change.where} runs the plan", markup=False)
        return
    with telling(change.where, "the candidate"):
        device.load("\n".join(with_ends(lines, change.driver.closes)) + "\n")
        difference = device.difference()
    print_text(f"{change.driver.without_secrets(difference)}\n")
    if dry_run or not difference:
        with telling(change.where, "the candidate stays"):
            device.discard()
        console.print("dry run: nothing was changed" if difference else f"{change.where} runs the plan", markup=False)
        return
    _commit(device, change, expected, before)


def with_ends(lines: Iterable[str], end: str | None) -> Iterator[str]:
    """Indented lines with `end` said wherever a section is over; as they are without `end`."""
    above: list[int] = []
    for line in lines:
        depth = len(line) - len(line.lstrip())
        while end and above and depth <= above[-1]:
            # The line before opened a section only if something stood below it.
            above.pop()
            if above and depth <= above[-1]:
                yield f"{' ' * (above[-1] + 1)}{end}"
        above.append(depth)
        yield line


def _lines(change: Change, running: str) -> list[str]:
    """What is said to the switch, with real passwords; none where it runs the plan."""
    with refusing():
        remedy = compare(change.name, change.wanted, running, passwords=change.passwords)
    print_problems(remedy.problems, verbose=True)
    if errors(remedy.problems):
        raise Refused(message="nothing was changed")
    return list(remedy.lines)


def _commit(device: ConfirmingDevice, change: Change, expected: dict[str, str], before: str) -> None:
    seconds = -(-(change.within + _MARGIN_S) // _MINUTE_S) * _MINUTE_S
    try:
        wrong = _committed(device, change, expected, seconds)
        after = "" if wrong else device.running()
    except DeviceError as error:
        wrong = [str(error)]
    except BaseException:
        _take_back(device, change, [], before, seconds)
        raise
    if wrong:
        _take_back(device, change, wrong, before, seconds)
        raise Refused(message="rolled back: the switch runs what it ran before")
    with telling(change.where, f"not confirmed: the switch takes it back within {seconds} seconds"):
        if not device.pending():
            raise Refused(message="error: the confirmation came too late: the switch has rolled back by itself")
        device.confirm()
        if not _same(change, after, device.running()):
            raise Refused(message="error: the switch does not run what was confirmed (compare with diff)")
    console.print(f"confirmed, and saved: {len(expected)} sessions are up", markup=False)


def _committed(device: ConfirmingDevice, change: Change, expected: dict[str, str], seconds: int) -> list[str]:
    """Commits, and waits. What is wrong when the time is over; empty as soon as all sessions stay up."""
    device.commit(seconds)
    deadline, looks = time.monotonic() + change.within, 0
    while True:
        found = device.sessions()
        down = [key for key in expected if not found.get(key)]
        looks = 0 if down else looks + 1
        if looks == LOOKS:
            return []
        if time.monotonic() >= deadline:
            return [_about(expected[key], key, found) for key in down] or ["the sessions do not stay up"]
        time.sleep(1)


def _about(name: str, key: str, found: Mapping[str, bool]) -> str:
    state = "it is down" if key in found else "the switch has no such neighbor"
    return f"session {name} with {key}: {state}"


def _expected(device: ConfirmingDevice, change: Change) -> dict[str, str]:
    """Address -> name of the sessions that have to be up. Those over interfaces have no address that is known."""
    sessions = {
        str(ip_address(session.peer_address)): session.name
        for session in change.wanted.sessions
        if session.peer_address and not session.interface
    }
    if not change.kept_only:
        return sessions
    up = device.sessions()
    return {key: name for key, name in sessions.items() if up.get(key)}


def _take_back(device: ConfirmingDevice, change: Change, wrong: list[str], before: str, seconds: int) -> None:
    """Refuses where the change is not taken back, or nobody can say so."""
    for line in wrong:
        errors_out.print(f"error: {line}", markup=False)
    try:
        # Without a change that waits, drivers would take back whatever came before it.
        if device.pending():
            device.roll_back()
        is_as_before = _same(change, before, device.running())
    except DeviceError as error:
        hint = f"it takes the change back by itself within {seconds} seconds; look at it then"
        raise Refused(message=f"error: the switch did not answer the rollback: {error} ({hint})") from error
    if not is_as_before:
        raise Refused(message="error: the switch did not take everything back (compare with diff)")


def _same(change: Change, one: str, other: str) -> bool:
    """Whether two running configurations say the same, of what is ours where the platform is compared."""
    if change.wanted.platform.partition("@")[0] in tables.names():
        return is_back(change.name, change.wanted, one, other, dict(change.passwords))
    return _statements(one) == _statements(other)


def _statements(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith(("#", "!"))]
