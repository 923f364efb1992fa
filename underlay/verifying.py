"""`verify`: what both ends say of every session, against the plan; one line per fault, at the end to be fixed.

store ─► plan, reports of the speakers ─┐
switches ─► what they print ────────────┴─► pairs ─► diagnosis ─► problems
                     └─► once more, where prefixes are missing: which ones
"""

from __future__ import annotations

import asyncio
import shlex
import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, cast

import typer

from containerlab.daemons import birdc, vtysh
from containerlab.namespaces import inside
from fabric_templates.verification import diagnosis, prefixes, sources, speakers
from fabric_templates.verification.pairs import Heard, Pair, key_of, pairs
from fabric_templates.verification.sources import Source
from peering.compile import plan as compile_plan
from peering.problems import Problem, errors, ordered
from peering.resource import Resource
from peering.resources.observed import BGPNodeStatusSpec
from peering.session import Plan, SwitchPlan
from peering.snapshot import Snapshot
from peering.store.open_store import open_store
from peering.store.resources import load
from underlay import reports
from underlay.devices.access import Access, has_driver
from underlay.devices.access import Login as DeviceLogin
from underlay.devices.drivers import Driver
from underlay.devices.options import DEFAULT_INVENTORY, CredentialsOption, DriverOption, InventoryOption
from underlay.fabric_lab import FabricLab
from underlay.options import DEFAULT_STORE, FilesOption, OutputOption, StoreOption
from underlay.output import Format, Refused, console, print_data, print_problems, print_table
from underlay.passwords import passwords_of
from underlay.planning import declared
from underlay.reflector_states import hear_reflectors
from underlay.switch_states import Ask, Login, Unreachable, Way, Ways, hear, read_file, saved, via
from underlay.verify_table import COLUMNS, rows, session_json, summary

_Statuses = Mapping[str, BGPNodeStatusSpec]
_AskReflectors = Callable[[], tuple[dict[str, Heard], list[Problem]]]


def register(app: typer.Typer) -> None:
    app.command()(verify)


def verify(
    file: FilesOption = None,
    store: StoreOption = DEFAULT_STORE,
    switch: Annotated[list[str] | None, typer.Option("--switch", help="Only this switch; may be repeated.")] = None,
    node: Annotated[list[str] | None, typer.Option("--node", help="Only this node; may be repeated.")] = None,
    through: Annotated[
        str | None,
        typer.Option(
            "--via", help="What goes before a command to run it on a switch: 'ssh {switch} sudo'.", metavar="PREFIX"
        ),
    ] = None,
    state: Annotated[
        list[str] | None,
        typer.Option("--state", help="What a switch printed, in a file; may be repeated.", metavar="SWITCH=FILE"),
    ] = None,
    lab: Annotated[
        str | None, typer.Option("--lab", help="A running lab: its store, and its switches.", metavar="TOPOLOGY")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="With --lab: the other name that it was given.")] = None,
    reflector: Annotated[
        list[str] | None,
        typer.Option("--reflector", help="A reflector on this machine, or its admin socket.", metavar="NAME"),
    ] = None,
    driver: DriverOption = None,
    inventory: InventoryOption = DEFAULT_INVENTORY,
    credentials: CredentialsOption = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show every session, as both ends tell it.")] = False,
    output: OutputOption = Format.table,
) -> None:
    """Compare what both ends of every session say with the plan. One line per fault, at the end that is to be fixed.

    Exit 1 where there is a fault, or somebody who was asked does not answer.

    Example: underlay verify --via 'ssh {switch} sudo'

    Example: underlay verify --lab dual-tor -v
    """
    if name is not None and lab is None:
        raise typer.BadParameter("goes with --lab", param_hint="--name")
    fabric = FabricLab(lab, name=name) if lab is not None else None
    store = fabric.store_url if fabric else store
    snapshot, statuses = _read(file, store)
    compiled = compile_plan(snapshot)
    if errors(compiled.problems):
        raise Refused(errors(compiled.problems), "nothing was verified")
    chosen = _Choice(frozenset(switch or ()), frozenset(node or ()))
    chosen.check(compiled)
    files = saved(state or [])
    reflectors = partial(hear_reflectors, reflector or (), _lab_sockets(fabric, compiled))
    with Access(snapshot, DeviceLogin(driver, inventory, credentials)) as access:
        ways = _ways(through, fabric, _drivers(access, snapshot, driver), files)
        found = _verify(compiled, statuses, chosen, partial(_ask, ways, files), ways, reflectors)
    found.problems += [p for pair in found.pairs for p in _judge(pair, compiled, snapshot)]
    _print(found, verbose, output)
    if errors(found.problems):
        raise Refused()


@dataclass(frozen=True, slots=True)
class _Choice:
    """The switches and nodes that were named; all where none was."""

    switches: frozenset[str]
    nodes: frozenset[str]

    def check(self, compiled: Plan) -> None:
        for what, named, known in (
            ("Switch", self.switches, compiled.switches),
            ("Node", self.nodes, compiled.speakers),
        ):
            for name in sorted(named - set(known)):
                there = ", ".join(sorted(known)) or "none"
                raise Refused(message=f"error: there is no {what}/{name} (there are: {there})")

    def has(self, pair: Pair) -> bool:
        refs = {side.ref for side in pair.sides}
        return all(
            not named or refs & {f"{kind}/{name}" for name in named}
            for kind, named in (("switch", self.switches), ("node", self.nodes))
        )


@dataclass(slots=True)
class _Found:
    pairs: list[Pair]
    problems: list[Problem]


def _read(files: Sequence[Path] | None, store: str) -> tuple[Snapshot, _Statuses]:
    """What is declared, and what the speakers reported: in the files, or else in the store."""
    snapshot = declared(files, store)
    found = snapshot.all("BGPNodeStatus")
    if not found:
        found = asyncio.run(_reports(store))
    return snapshot, {name: cast(BGPNodeStatusSpec, one.spec) for name, one in found.items()}


async def _reports(url: str) -> Mapping[str, Resource]:
    store = open_store(url)
    try:
        return {one.name: one for one in (await load(store, ("BGPNodeStatus",)))[0]}
    finally:
        await store.close()


def _verify(
    compiled: Plan, statuses: _Statuses, chosen: _Choice, ask: Ask, ways: Ways, ask_reflectors: _AskReflectors
) -> _Found:
    wanted = [pair for pair in pairs(compiled, {}) if chosen.has(pair)]
    refs = {side.ref for pair in wanted for side in pair.sides}
    heard, problems = _speakers(compiled, statuses, refs)
    switches = {name: one for name, one in compiled.switches.items() if f"switch/{name}" in refs}
    told, silent = hear(switches, ask)
    heard |= {f"switch/{name}": one for name, one in told.items()}
    told, away = ask_reflectors()
    heard |= {f"reflector/{name}": one for name, one in told.items()}
    found = [pair for pair in pairs(compiled, heard) if chosen.has(pair)]
    found = [_with_routes(pair, switches, ways) for pair in found]
    return _Found(found, [*problems, *silent, *away])


def _speakers(compiled: Plan, statuses: _Statuses, refs: Iterable[str]) -> tuple[dict[str, Heard], list[Problem]]:
    heard, problems, now = {}, [], time.time()
    missing = reports.never_reported(compiled, statuses)
    for ref in sorted(ref for ref in refs if ref.startswith("node/")):
        name = ref.removeprefix("node/")
        status = statuses.get(name)
        if status is None:
            if name in missing:
                problems.append(_speaker_unreported(name))
            continue
        late = reports.overdue(status, now)
        if late:
            problems.append(_speaker_silent(name, late))
        heard[ref] = Heard(speakers.ends(status, compiled.speakers.get(name), late=bool(late)))
    return heard, problems


def _speaker_unreported(name: str) -> Problem:
    message = "no speaker has ever reported; its sessions are judged by their other ends"
    return Problem("error", "speaker-unreported", f"Node/{name}", "", message, "start underlay speaker on the node")


def _speaker_silent(name: str, late: str) -> Problem:
    message = f"{late}; its sessions are judged by their other ends"
    return Problem("error", "speaker-silent", f"Node/{name}", "", message, "look at underlay speaker on the node")


def _ways(through: str | None, fabric: FabricLab | None, drivers: Ways, files: Container[str]) -> Ways:
    """The first that is given, for switches that nobody has saved the state of."""
    chosen = via(through) if through is not None else _lab_ways(fabric) if fabric else drivers
    return lambda switch: None if switch in files else chosen(switch)


def _ask(ways: Ways, files: Mapping[str, Path], switch: str, source: Source) -> str | None:
    if switch in files:
        return read_file(files[switch])
    way = ways(switch)
    return way.state(source) if way is not None else None


def _drivers(access: Access, snapshot: Snapshot, driver: Driver | None) -> Ways:
    """Over a library: that of the command line, or the one that the Switch says."""

    def show(switch: str, line: str) -> str:
        try:
            return access.show(switch, line)
        except Refused as refused:
            raise Unreachable(refused.message or "; ".join(p.message for p in refused.problems)) from refused

    def way(switch: str) -> Login | None:
        return Login(partial(show, switch)) if driver is not None or has_driver(snapshot, switch) else None

    return way


def _lab_sockets(fabric: FabricLab | None, compiled: Plan) -> dict[str, Path]:
    """Of the reflectors that are nodes of the lab."""
    names = [name for name in compiled.reflectors if fabric and name in fabric.topology.nodes]
    return {name: fabric.admin_socket(name) for name in names if fabric}


def _lab_ways(fabric: FabricLab) -> Ways:
    """In the namespace of a switch, with what talks to its own daemons."""

    def way(switch: str) -> Way:
        folder = fabric.lab.node_dir(switch)
        tools = (vtysh(folder), birdc(folder))
        own = "".join(f'{words[0]}() {{ command {shlex.join(words)} "$@"; }}\n' for words in tools)
        return Way(inside(fabric.lab.namespace(switch), ()), own)

    return way


def _with_routes(pair: Pair, switches: Mapping[str, SwitchPlan], ways: Ways) -> Pair:
    """With what the switch has accepted from a node, by name, where it is less than was sent, or not counted."""
    one, other = pair.one, pair.other
    name = one.ref.partition("/")[2]
    source = sources.find(switches[name].platform) if one.kind == "switch" and name in switches else None
    if source is None or source.routes is None or not _is_unsure(pair):
        return pair
    assert one.end is not None
    assert one.session is not None
    neighbor = key_of(one.session)
    way = ways(name)
    if way is None:
        return pair
    try:
        text = way.routes(source, neighbor)
        taken = sources.read_routes(switches[name].platform, text, neighbor)
    except (Unreachable, ValueError):
        return pair  # the counts alone are known, and are told
    end = replace(one.end, taken=taken, accepted=len(taken))
    return replace(pair, one=replace(one, end=end), other=other)


def _is_unsure(pair: Pair) -> bool:
    mine, far = pair.one.end, pair.other.end
    if not pair.is_up or mine is None or pair.one.session is None or far is None or far.sent is None:
        return False
    return mine.accepted is None or mine.accepted < far.sent


def _judge(pair: Pair, compiled: Plan, snapshot: Snapshot) -> Iterator[Problem]:
    yield from diagnosis.down(pair, passwords_of(snapshot))
    yield from prefixes.up(pair, compiled.switches)


def _print(found: _Found, verbose: bool, output: Format) -> None:
    problems = ordered(found.problems)
    if output is not Format.table:
        sessions = [session_json(pair) for pair in found.pairs]
        print_data({"sessions": sessions, "problems": [problem.to_json() for problem in problems]}, output)
        return
    if verbose:
        print_table("", COLUMNS, rows(found.pairs))
    print_problems(problems, verbose=verbose)
    console.print(summary(found.pairs, problems), markup=False)
