"""`push`: what `diff` prints, said to the switch, and taken back if the sessions of the plan do not come up.

running ─► ways there and back ─► check ─► timer, lines ─► sessions up ─► confirm
                                                 └───────► not in time, or interrupted ─► take back
"""

from __future__ import annotations

import secrets
import shlex
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Annotated

import typer

from fabric_templates.endpoints import neighbor_key
from fabric_templates.remediation import tables
from fabric_templates.remediation.push_scripts import BUSY, NOT_PENDING, Scripts
from fabric_templates.remediation.tables import PushCommands
from fabric_templates.remediation.ways import Ways, is_back, ways
from fabric_templates.render import render
from fabric_templates.verification import sources
from fabric_templates.verification.end import End, Ends
from peering.problems import Problem, errors
from peering.resources.fabric import SwitchSpec
from peering.session import SecretKeyRef, SwitchPlan
from peering.snapshot import Snapshot
from underlay.comparing import check_or_refuse, declared_plan, refusing
from underlay.devices.access import Access, Login
from underlay.devices.drivers import Driver, confirming
from underlay.devices.napalm_device import NapalmDevice
from underlay.devices.options import DEFAULT_INVENTORY, CredentialsOption, DriverOption, InventoryOption
from underlay.options import DEFAULT_STORE, FilesOption, StoreOption
from underlay.output import Refused, console, print_problems, print_text
from underlay.output import errors as errors_out
from underlay.pushing_confirmed import LOOKS, Change, check_change, push_confirmed
from underlay.switch_shell import Said, SwitchShell

#: The switch waits so much longer than we do, for the confirmation to arrive.
_MARGIN_S = 10


class Expect(StrEnum):
    """`--expect`."""

    all = "all"
    kept = "kept"


@dataclass(frozen=True, slots=True)
class _Push:
    """A push on its way. `expected` is {address or interface: session's name}; `is_back` says whether a running
    configuration is as before."""

    platform: str
    shell: SwitchShell
    commands: PushCommands
    scripts: Scripts
    expected: dict[str, str]
    within: int
    is_back: Callable[[str], bool]

    def show(self) -> str:
        return self.shell.good(_line(self.commands.show), "the running configuration")

    def ends(self) -> Ends:
        return _ends(self.platform, self.shell)


def register(app: typer.Typer) -> None:
    app.command()(push)


def push(
    switch: Annotated[str, typer.Option("--switch", help="The switch.")],
    via: Annotated[
        str, typer.Option("--via", help="What goes before a command to run it on the switch.", metavar="PREFIX")
    ] = "",
    driver: DriverOption = None,
    inventory: InventoryOption = DEFAULT_INVENTORY,
    credentials: CredentialsOption = None,
    file: FilesOption = None,
    store: StoreOption = DEFAULT_STORE,
    within: Annotated[
        int, typer.Option("--within", min=5, max=3600, help="Seconds for the sessions to come up.", metavar="SECONDS")
    ] = 60,
    expect: Annotated[
        Expect, typer.Option("--expect", help="all: every session of the plan; kept: those that were up before.")
    ] = Expect.all,
    save: Annotated[bool, typer.Option("--save", help="Make it the switch's startup configuration, too.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and show; change nothing.")] = False,
) -> None:
    """Say to a switch what diff prints, and take it back if its sessions do not come up in time.

    Example: underlay push -f config/samples/dual-tor --switch tor-1a --via 'ssh tor-1a sudo'
    """
    snapshot, wanted, passwords = declared_plan(switch, file, store, None)
    chosen = driver or _declared_driver(snapshot, switch, wanted)
    if chosen is not None:
        if via:
            raise typer.BadParameter("goes without --driver", param_hint="--via")
        change = Change(switch, wanted, passwords, within, expect is Expect.kept)
        _push_over(chosen, change, snapshot, Login(chosen, inventory, credentials), dry_run)
        return
    commands = _commands(switch, wanted)
    check_or_refuse(switch, wanted, passwords)
    shell = SwitchShell(via)
    scripts = Scripts(f"/run/underlay/push-{switch}", secrets.token_hex(8), commands)
    before = _unless_busy(shell.run(scripts.look()), scripts, "the running configuration")
    way = _ways(switch, wanted, before, passwords)
    if not way.forth:
        console.print(f"Switch/{switch} runs the plan", markup=False)
        return
    texts = {"forth": way.forth, "back": way.back, "plan": render(switch, wanted, passwords=passwords).values()}
    _prepare(shell, scripts, {name: "\n".join(lines) for name, lines in texts.items()})
    if dry_run:
        shell.good(scripts.discard(), "the prepared files")
        console.print("dry run: nothing was changed", markup=False)
        return
    expected = _expected(wanted, shell, expect)
    same = partial(is_back, switch, wanted, before, passwords=passwords)
    _apply(_Push(wanted.platform, shell, commands, scripts, expected, within, same), save)


def _declared_driver(snapshot: Snapshot, switch: str, wanted: SwitchPlan) -> Driver | None:
    """The Switch's own, where the platform is not pushed to by its shell."""
    management = snapshot.specs("Switch", SwitchSpec)[switch].management
    if management is None or management.driver is None or _push_commands(wanted) is not None:
        return None
    return Driver(management.driver)


def _push_over(driver: Driver, change: Change, snapshot: Snapshot, login: Login, dry_run: bool) -> None:
    check_change(change, driver)
    with Access(snapshot, login) as access:
        device = access.device(change.name)
        if not isinstance(device, NapalmDevice):
            raise TypeError(f"{driver} cannot confirm a change")
        push_confirmed(device, change, dry_run=dry_run)


def _push_commands(wanted: SwitchPlan) -> PushCommands | None:
    platform = wanted.platform.partition("@")[0]
    return tables.load(platform).push if platform in tables.names() else None


def _commands(switch: str, wanted: SwitchPlan) -> PushCommands:
    found = _push_commands(wanted)
    if found is not None:
        return found
    known = ", ".join(name for name in tables.names() if tables.load(name).push)
    message = f"nothing is pushed to platform {wanted.platform!r} by a shell"
    hint = (
        f"to {known} only; with --driver napalm to {', '.join(confirming())}; render or diff gives what is to be loaded"
    )
    raise Refused([Problem("error", "platform-not-pushed", f"Switch/{switch}", "spec.platform", message, hint)])


def _ways(switch: str, wanted: SwitchPlan, running: str, passwords: dict[SecretKeyRef, str]) -> Ways:
    with refusing():
        found = ways(switch, wanted, running, passwords)
    print_problems(found.problems, verbose=True)
    for line in found.shown:
        print_text(f"{line}\n")
    if errors(found.problems):
        raise Refused(message="nothing was changed")
    return found


def _prepare(shell: SwitchShell, scripts: Scripts, files: dict[str, str]) -> None:
    _unless_busy(shell.run(scripts.prepare(files)), scripts, "the switch refuses the configuration")


def _unless_busy(said: Said, scripts: Scripts, what: str) -> str:
    """What the switch says, where no other push is on its way there."""
    if said.code == BUSY:
        hint = "wait for it; if none is on its way, remove the folder"
        raise Refused(message=f"error: another push has {scripts.folder} on the switch ({hint})")
    if said.code:
        raise Refused(message=f"error: {what}: exit code {said.code}: {said.text or 'no message'}\nnothing was changed")
    return said.output


def _expected(wanted: SwitchPlan, shell: SwitchShell, expect: Expect) -> dict[str, str]:
    sessions = {neighbor_key(session): session.name for session in wanted.sessions}
    if expect is Expect.all:
        return sessions
    before = _ends(wanted.platform, shell)
    return {key: name for key, name in sessions.items() if key in before and before[key].is_up}


def _ends(platform: str, shell: SwitchShell) -> Ends:
    """The sessions as `verify` reads them, of which only state and reason are needed: what it asks first has both."""
    source = sources.find(platform)
    if source is None:
        raise TypeError(f"the sessions of {platform} are not read")
    text = shell.good(source.first, "the sessions of the switch")
    try:
        return sources.read(platform, text)[0]
    except ValueError as error:
        raise Refused(message=f"error: the sessions of the switch cannot be read: {error}") from error


def _apply(push: _Push, save: bool) -> None:
    try:
        said = push.shell.run(push.scripts.apply(push.within + _MARGIN_S))
        wrong = [f"the switch refuses a line: {said.text}"] if said.code else _down(push)
    except BaseException:
        _take_back(push, [])
        raise
    if wrong:
        _take_back(push, wrong)
        raise Refused(message="rolled back: what is ours on the switch is as it was before")
    if push.shell.run(push.scripts.confirm()).code:
        raise Refused(message="error: the confirmation came too late: the switch has rolled back by itself")
    console.print(f"confirmed: {len(push.expected)} sessions are up", markup=False)
    if save:
        push.shell.good(_line(push.commands.save), "the startup configuration")
        console.print("saved as startup configuration", markup=False)


def _down(push: _Push) -> list[str]:
    """What is still wrong when the time is over; empty as soon as all sessions stay up."""
    deadline, looks = time.monotonic() + push.within, 0
    while True:
        found = push.ends()
        down = [key for key in push.expected if key not in found or not found[key].is_up]
        looks = 0 if down else looks + 1
        if looks == LOOKS:
            return []
        if time.monotonic() >= deadline:
            return [_about(push.expected[key], key, found.get(key)) for key in down] or ["the sessions do not stay up"]
        time.sleep(1)


def _about(name: str, key: str, found: End | None) -> str:
    if found is None:
        return f"session {name} with {key}: the switch has no such neighbor"
    return f"session {name} with {key}: {found.state}{f' ({found.reason})' if found.reason else ''}"


def _take_back(push: _Push, wrong: Iterable[str]) -> None:
    for line in wrong:
        errors_out.print(f"error: {line}", markup=False)
    said = push.shell.run(push.scripts.take_back())
    if said.code not in (0, NOT_PENDING) or not push.is_back(push.show()):
        hint = "compare with diff"
        raise Refused(message=f"error: the switch did not take everything back: {said.text or 'it differs'} ({hint})")


def _line(argv: Sequence[str]) -> str:
    return shlex.join(argv)
