"""`diff`: what a switch runs against what the plan wants of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from fabric_templates import render as rendering
from fabric_templates.remediation.compare import compare, unreadable
from fabric_templates.remediation.notes import Remedy
from peering.compile import plan as compile_plan
from peering.problems import errors
from peering.session import SecretKeyRef, SwitchPlan
from peering.snapshot import Snapshot
from underlay.devices.access import Access, Login, has_driver
from underlay.devices.drivers import Driver
from underlay.devices.options import DEFAULT_INVENTORY, CredentialsOption, DriverOption, InventoryOption
from underlay.options import DEFAULT_STORE, FilesOption, OutputOption, StoreOption
from underlay.output import Format, Refused, print_data, print_problems, print_text
from underlay.passwords import passwords_of
from underlay.planning import declared
from underlay.running_config import running_config


def register(app: typer.Typer) -> None:
    app.command()(diff)


def diff(
    switch: Annotated[str, typer.Option("--switch", help="The switch.")],
    running: Annotated[
        Path | None, typer.Option("--running", help="Its running configuration; - for standard input.", metavar="FILE")
    ] = None,
    running_command: Annotated[
        str | None, typer.Option("--running-command", help="A command that prints it.", metavar="CMD")
    ] = None,
    driver: DriverOption = None,
    inventory: InventoryOption = DEFAULT_INVENTORY,
    credentials: CredentialsOption = None,
    file: FilesOption = None,
    store: StoreOption = DEFAULT_STORE,
    platform: Annotated[str | None, typer.Option(help="Use this platform for the switch.")] = None,
    with_secrets: Annotated[bool, typer.Option("--with-secrets", help="Real passwords, compared and printed.")] = False,
    output: OutputOption = Format.table,
) -> None:
    """Print the lines that lead a switch from what it runs to what the plan says. Exit 1 when there are any.

    Only what is ours is touched: names with UNDERLAY-, our neighbors, the lines of the BGP instance that we print.

    Example: underlay diff -f config/samples/dual-tor --switch tor-1a --running tor-1a.conf
    """
    snapshot, wanted, passwords = declared_plan(switch, file, store, platform)
    shown = passwords if with_secrets else None
    check_or_refuse(switch, wanted, shown)
    if _asks_the_switch(switch, snapshot, running, running_command, driver):
        with Access(snapshot, Login(driver, inventory, credentials)) as access:
            text = access.running(switch, wanted.platform)
    else:
        text = running_config(running, running_command)
    with refusing():
        remedy = compare(switch, wanted, text, passwords=shown)
    if output is Format.table:
        print_problems(remedy.problems, verbose=True)
        # As they are: the console makes spaces of tabs, and `patch` wants them.
        print_text("".join(f"{line}\n" for line in remedy.lines))
    else:
        print_data(_document(switch, wanted, remedy), output)
    if remedy.lines or errors(remedy.problems):
        raise Refused()


def declared_plan(
    switch: str, files: list[Path] | None, store: str, platform: str | None
) -> tuple[Snapshot, SwitchPlan, dict[SecretKeyRef, str]]:
    """What is declared, the plan of a switch, and every password. Refuses where the plan has an error."""
    snapshot = declared(files, store)
    compiled = compile_plan(snapshot)
    print_problems(compiled.problems)
    if errors(compiled.problems):
        raise Refused(message="nothing was compared")
    if switch not in compiled.switches:
        known = ", ".join(sorted(compiled.switches)) or "none"
        raise Refused(message=f"error: there is no Switch/{switch} (there are: {known})")
    found = compiled.switches[switch]
    return snapshot, replace(found, platform=platform or found.platform), passwords_of(snapshot)


def _asks_the_switch(
    switch: str, snapshot: Snapshot, file: Path | None, command: str | None, driver: Driver | None
) -> bool:
    """Whether the switch itself is asked. Raises BadParameter unless exactly one way is given; the Switch's own driver
    is one where the command line has none."""
    given = [way for way in (file, command, driver) if way is not None]
    if len(given) > 1 or not (given or has_driver(snapshot, switch)):
        raise typer.BadParameter("give one of --running, --running-command and --driver", param_hint="--running")
    return file is None and command is None


@contextmanager
def refusing() -> Iterator[None]:
    """What a template gets wrong is a refusal like any other."""
    try:
        yield
    except rendering.RenderRefused as refused:
        raise Refused(refused.problems, "nothing was compared") from refused


def check_or_refuse(switch: str, wanted: SwitchPlan, passwords: dict[SecretKeyRef, str] | None) -> None:
    """Refuses what cannot be rendered or compared at all."""
    problems = rendering.check(switch, wanted, passwords=passwords)
    print_problems(problem for problem in problems if problem.severity != "error")
    refused = (*errors(problems), *filter(None, [unreadable(switch, wanted)]))
    if refused:
        raise Refused(refused, "nothing was compared")


def _document(switch: str, wanted: SwitchPlan, remedy: Remedy) -> dict[str, object]:
    return {
        "switch": switch,
        "platform": wanted.platform,
        "lines": list(remedy.lines),
        "problems": [problem.to_json() for problem in remedy.problems],
    }
