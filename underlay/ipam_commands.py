"""`ipam show`, `ipam check`, `ipam release`: blocks and addresses, for people and scripts."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable, Sequence
from time import sleep, time
from typing import Annotated, Any, TypeVar

import typer

from ipam.errors import IpamError
from peering.problems import Problem
from peering.resource import Resource
from peering.spec_problems import nearest
from peering.store.open_store import open_store
from peering.store.protocol import Store
from peering.store.resources import load
from underlay import ipam_check, ipam_release, ipam_view
from underlay.ipam_release import Holding
from underlay.options import DEFAULT_STORE, NodeOption, OutputOption, StoreOption
from underlay.output import Format, Refused, console, errors, print_codes, print_data, print_problems, print_table
from underlay.reflector_announcements import announcements, sockets

T = TypeVar("T")
#: What was meant to be freed, and what was.
Freeing = tuple[list[Holding], list[Holding]]

ipam = typer.Typer(help="Blocks and addresses.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    app.add_typer(ipam, name="ipam")


@ipam.command()
def show(
    node: NodeOption = None,
    blocks: Annotated[bool, typer.Option("--blocks", help="Only blocks, not addresses.")] = False,
    ip: Annotated[str | None, typer.Option("--ip", help="Who has this address.")] = None,
    store: StoreOption = DEFAULT_STORE,
    output: OutputOption = Format.table,
) -> None:
    """Show blocks with their owners, and addresses with their holders.

    Example: underlay ipam show --node node-1
    """
    address = None if ip is None else _canonical(ip, "--ip")
    found = _read(store, "BlockAffinity", "IPAMBlock", "IPPool", "Node")[0]
    rows = ipam_view.block_rows(found)
    if node is not None:
        rows = ipam_view.of_node(rows, node)
        if not rows:
            _demand_node(node, {one.name for one in found if one.kind == "Node"})
    if address is not None:
        rows = ipam_view.of_address(rows, address)
        if not rows:
            raise Refused(message=f"error: {address} is held by nobody")
    if blocks:
        rows = ipam_view.without_addresses(rows)
    if output is Format.table:
        print_table("", ipam_view.COLUMNS, ipam_view.table_rows(rows))
    else:
        print_data(rows, output)


@ipam.command()
def check(
    reflector: Annotated[
        list[str] | None,
        typer.Option(
            "--reflector",
            help="Ask this reflector on this machine, by name or admin socket; without it all.",
            metavar="NAME",
        ),
    ] = None,
    again: Annotated[
        float, typer.Option("--again", min=0, help="Seconds until what is wrong is looked at again.", metavar="SECONDS")
    ] = 2.0,
    store: StoreOption = DEFAULT_STORE,
    output: OutputOption = Format.table,
) -> None:
    """Look for addresses and blocks that are two's or nobody's, leak, or are announced by who does not own them.

    What is wrong is looked at again after two seconds: only what is still wrong is told. Nothing is changed.
    Exit 1 when something is wrong.

    Example: underlay ipam check
    """
    found, seen = _look(store, reflector or ())
    if found:
        sleep(again)
        second, seen = _look(store, reflector or ())
        found = tuple(one for one in found if one in second)
    if output is Format.table:
        print_problems(found, verbose=True)
        print_codes(found)
        console.print(_looked_at(seen, found), markup=False)
    else:
        print_data({**seen, "problems": [problem.to_json() for problem in found]}, output)
    if any(problem.severity != "info" for problem in found):
        raise Refused()


def _look(store: str, reflectors: Sequence[str]) -> tuple[tuple[Problem, ...], dict[str, Any]]:
    """What is wrong now, and what was looked at."""
    resources, unreadable = _read(store, *ipam_check.KINDS)
    now = time()
    names, announced = announcements(sockets(reflectors), resources, lambda why: _not_asked(why, bool(reflectors)))
    found = (*unreadable, *ipam_check.judge(resources, announced, now))
    return found, {**ipam_check.counts(resources, now), "reflectors": names}


def _not_asked(why: str, named: bool) -> None:
    if named:
        raise Refused(message=why)
    errors.print(f"warning: {why.removeprefix('error: ')}", markup=False)


def _looked_at(seen: dict[str, Any], found: Sequence[Problem]) -> str:
    asked = ", ".join(seen["reflectors"]) or "none here"
    wrong = len([one for one in found if one.severity != "info"])
    return (
        f"{seen['blocks']} blocks, {seen['addresses']} addresses, {seen['handles']} handles; "
        f"reports of {seen['speakers']} speakers; reflectors: {asked}; "
        f"{'nothing is wrong' if not wrong else f'{wrong} wrong'}"
    )


@ipam.command()
def release(
    address: Annotated[str | None, typer.Argument(help="The address.", metavar="ADDRESS")] = None,
    sequence: Annotated[
        int | None, typer.Option("--sequence", min=0, help="Of the gift that is meant, as `ipam show` has it.")
    ] = None,
    handle: Annotated[str | None, typer.Option("--handle", help="All addresses of this handle.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Though the pod seems to live.")] = False,
    store: StoreOption = DEFAULT_STORE,
    output: OutputOption = Format.table,
) -> None:
    """Free an address that nobody uses any more, or all addresses of a handle.

    Refused while the node of the holder is declared: its pod may live, and its address would be given to another.

    Example: underlay ipam release 10.244.0.65 --sequence 12
    """
    if (address is None) is not bool(handle):
        raise typer.BadParameter("give one of them", param_hint="ADDRESS or --handle")
    if (address is None) is not (sequence is None):
        raise typer.BadParameter("goes with ADDRESS (underlay ipam show --ip ADDRESS has it)", param_hint="--sequence")
    if address is not None and sequence is not None:
        meant, freed = _with_store(store, _release_address(_canonical(address, "ADDRESS"), sequence, force))
    else:
        meant, freed = _with_store(store, _release_handle(handle or "", force))
    if output is not Format.table:
        print_data({"released": [_released(one) for one in freed]}, output)
    else:
        for one in freed:
            console.print(f"{one.given.address} released (handle {one.handle or 'none'})", markup=False)
    if len(freed) < len(meant):
        raise Refused(message=f"error: {len(meant) - len(freed)} of {len(meant)} were released or given anew meanwhile")


def _released(one: Holding) -> dict[str, Any]:
    return {
        "address": one.given.address,
        "block": one.given.block,
        "sequence": one.given.sequence,
        "handle": one.handle,
    }


def _release_address(address: str, sequence: int, force: bool) -> Callable[[Store], Awaitable[Freeing]]:
    async def work(store: Store) -> Freeing:
        found = await ipam_release.holdings(store, lambda given, handle: given.address == address)
        meant = [one for one in found if one.given.sequence == sequence]
        if not meant:
            why = f"{found[0].line}: it was given anew" if found else f"{address} is held by nobody"
            raise Refused(message=f"error: {why}; nothing was released")
        return await _free(store, meant, force)

    return work


def _release_handle(handle: str, force: bool) -> Callable[[Store], Awaitable[Freeing]]:
    async def work(store: Store) -> Freeing:
        found = await ipam_release.holdings(store, lambda given, holder: holder == handle)
        if not found:
            await ipam_release.forget_promise(store, handle)
            raise Refused(message=f"error: {handle} holds no address; nothing was released")
        return await _free(store, found, force)

    return work


async def _free(store: Store, found: list[Holding], force: bool) -> Freeing:
    alive = [one for one in found if one.lives]
    if alive and not force:
        lines = [f"error: {one.line}, and seems to live (delete the pod, or give --force)" for one in alive]
        raise Refused(message="\n".join([*lines, "nothing was released"]))
    return found, await ipam_release.free(store, found)


def _with_store(url: str, work: Callable[[Store], Awaitable[T]]) -> T:
    async def run() -> T:
        store = open_store(url)
        try:
            return await work(store)
        except IpamError as error:
            raise Refused(message=f"error: {error}") from error
        finally:
            await store.close()

    return asyncio.run(run())


def _read(url: str, *kinds: str) -> tuple[list[Resource], list[Problem]]:
    async def read(store: Store) -> tuple[list[Resource], list[Problem]]:
        resources, _, problems = await load(store, kinds)
        return resources, problems

    return _with_store(url, read)


def _demand_node(name: str, known: set[str]) -> None:
    """A node without blocks is nothing unusual; one that is not there is a slip."""
    if name not in known:
        near = nearest(name, known)
        hint = f" (did you mean {near}?)" if near else " (underlay get nodes lists them)"
        raise Refused(message=f"error: there is no Node {name}{hint}")


def _canonical(address: str, where: str) -> str:
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        raise typer.BadParameter(f"{address!r} is no IP address", param_hint=where) from None
