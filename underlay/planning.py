"""`plan`, `lint`, `render`: the session graph, from files or from the store, and what follows from it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from fabric_templates import render as rendering
from peering.compile import plan as compile_plan
from peering.problems import Problem, errors
from peering.session import Plan, SecretKeyRef
from peering.snapshot import Snapshot
from peering.store.open_store import open_store
from underlay.declaring import read_or_refuse, read_snapshot
from underlay.options import (
    DEFAULT_STORE,
    FilesOption,
    NodeOption,
    OutputOption,
    ReflectorOption,
    StoreOption,
    SwitchOption,
)
from underlay.output import Format, Refused, console, print_codes, print_data, print_problems, print_text
from underlay.passwords import passwords_of as passwords_of
from underlay.plan_table import print_plan
from underlay.rendered_output import RenderFormat, write_ansible, write_files


def register(app: typer.Typer) -> None:
    app.command()(plan)
    app.command()(lint)
    app.command()(render)


def plan(
    file: FilesOption = None,
    node: NodeOption = None,
    switch: SwitchOption = None,
    reflector: ReflectorOption = None,
    store: StoreOption = DEFAULT_STORE,
    output: OutputOption = Format.table,
) -> None:
    """Show the session graph: who peers with whom, from which address, with what parameters.

    Example: underlay plan -f config/samples/dual-tor --switch tor-1a -o json
    """
    compiled = _select(compile_plan(declared(file, store)), node, switch, reflector)
    if output is Format.table:
        print_plan(compiled)
        print_problems(compiled.problems)
    else:
        print_data(compiled.to_json(), output)
    if errors(compiled.problems):
        raise Refused()


def lint(
    file: FilesOption = None,
    store: StoreOption = DEFAULT_STORE,
    output: OutputOption = Format.table,
) -> None:
    """Judge the whole topology before anything is applied. Exit 1 when there is an error.

    Example: underlay lint -f config/samples/dual-tor
    """
    problems = compile_plan(declared(file, store)).problems
    if output is Format.table:
        print_problems(problems, verbose=True)
        print_codes(problems)
        console.print(_counts(problems), markup=False)
    else:
        print_data([problem.to_json() for problem in problems], output)
    if errors(problems):
        raise Refused()


def render(
    file: FilesOption = None,
    switch: SwitchOption = None,
    store: StoreOption = DEFAULT_STORE,
    platform: Annotated[str | None, typer.Option(help="Use this platform for every switch.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write to DIR/SWITCH/FILE instead of printing.", metavar="DIR")
    ] = None,
    form: Annotated[
        RenderFormat, typer.Option("--format", help="ansible: with --out, a playbook that loads the files.")
    ] = RenderFormat.files,
    with_secrets: Annotated[bool, typer.Option("--with-secrets", help="Real passwords; files become 0600.")] = False,
) -> None:
    """Print or write the configurations of the switches.

    Example: underlay render -f config/samples/dual-tor --switch tor-1a
    """
    if form is RenderFormat.ansible and out is None:
        raise typer.BadParameter("ansible needs --out", param_hint="--format")
    snapshot = declared(file, store)
    compiled = _select(compile_plan(snapshot), switch=switch)
    print_problems(compiled.problems)
    if errors(compiled.problems):
        raise Refused(message="nothing was rendered")
    compiled = _for_platform(compiled, platform)
    rendered = render_all(compiled, passwords_of(snapshot) if with_secrets else None)
    if out is not None and form is RenderFormat.ansible:
        write_ansible(out, rendered, compiled.switches, snapshot, with_secrets=with_secrets)
    elif out is not None:
        write_files(out, rendered, compiled.switches, with_secrets=with_secrets)
    else:
        for text in (text for files in rendered.values() for text in files.values()):
            print_text(text)


def _for_platform(compiled: Plan, platform: str | None) -> Plan:
    """The plan with another platform for every switch, where one is given."""
    if platform is None:
        return compiled
    return replace(compiled, switches={n: replace(s, platform=platform) for n, s in compiled.switches.items()})


def _counts(problems: Sequence[Problem]) -> str:
    by_severity = Counter(problem.severity for problem in problems)
    infos = f", {by_severity['info']} infos" if by_severity["info"] else ""
    return f"{by_severity['error']} errors, {by_severity['warning']} warnings{infos}"


def declared(files: Sequence[Path] | None, store: str) -> Snapshot:
    """What the files declare or, without files, what the store holds."""
    return Snapshot(read_or_refuse(files, observed=True)) if files else asyncio.run(_from_store(store))


def render_all(compiled: Plan, passwords: dict[SecretKeyRef, str] | None) -> dict[str, dict[str, str]]:
    """The files of every switch of the plan. Refuses with all reasons when one cannot be rendered; then nothing is."""
    problems = [p for n, s in compiled.switches.items() for p in rendering.check(n, s, passwords=passwords)]
    print_problems(problem for problem in problems if problem.severity != "error")
    found: dict[str, dict[str, str]] = {}
    refused = list(errors(problems))
    for name, switch in compiled.switches.items() if not refused else ():
        try:
            found[name] = rendering.render(name, switch, passwords=passwords)
        except rendering.RenderRefused as reason:
            refused += reason.problems
    if refused:
        raise Refused(refused, "nothing was rendered")
    return found


async def _from_store(url: str) -> Snapshot:
    store = open_store(url)
    try:
        return await read_snapshot(store)
    finally:
        await store.close()


def _select(compiled: Plan, node: str | None = None, switch: str | None = None, reflector: str | None = None) -> Plan:
    """Only the ends that are named; all of the plan when none is."""
    if node is switch is reflector is None:
        return compiled
    for what, name, known in (
        ("Node", node, compiled.speakers),
        ("Switch", switch, compiled.switches),
        ("RouteReflector", reflector, compiled.reflectors),
    ):
        if name is not None and name not in known:
            raise Refused(message=f"error: there is no {what}/{name} (there are: {', '.join(sorted(known)) or 'none'})")
    return replace(
        compiled,
        speakers={n: s for n, s in compiled.speakers.items() if n == node},
        reflectors={n: r for n, r in compiled.reflectors.items() if n == reflector},
        switches={n: s for n, s in compiled.switches.items() if n == switch},
    )
