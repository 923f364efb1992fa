"""`underlay lab generate`: a topology for containerlab and the runner, with startup configurations, from a declaration.

The platform of each switch says what it is in the lab; `--kind` makes all of them one thing, for those who have no
image of theirs. Nothing is written when anything is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from containerlab.generate import Generated
from containerlab.generate import generate as generate_lab
from containerlab.kinds import KINDS, NODE, LabKind, kind_of
from fabric_templates import render as rendering
from fabric_templates.output import write_atomically
from peering.compile import plan as compile_plan
from peering.problems import Problem, errors
from peering.session import Plan, SwitchPlan
from underlay.options import DEFAULT_STORE, FilesOption, StoreOption
from underlay.output import Refused, console, print_problems
from underlay.planning import declared, passwords_of, render_all

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,30}")
_NAMES = ", ".join(KINDS)


def generate(
    out: Annotated[Path, typer.Option("--out", help="Where the lab is written to.", metavar="DIR")],
    file: FilesOption = None,
    store: StoreOption = DEFAULT_STORE,
    name: Annotated[str | None, typer.Option("--name", help="The lab's name; that of DIR without it.")] = None,
    kind: Annotated[
        str | None, typer.Option("--kind", help=f"What every switch is: {_NAMES}; by its platform without it.")
    ] = None,
    image: Annotated[
        list[str] | None,
        typer.Option("--image", help="Another image for a kind, or for `node`; may be repeated.", metavar="KIND=IMAGE"),
    ] = None,
    with_secrets: Annotated[bool, typer.Option("--with-secrets", help="Real passwords; files become 0600.")] = False,
) -> None:
    """Make a topology and startup configurations from a declaration.

    Example: underlay lab generate -f config/samples/as-per-node --out lab
    """
    lab = _lab_name(name, out)
    images = _images(image)
    if kind is not None and kind not in KINDS:
        raise typer.BadParameter(f"{kind!r} is no kind of switch; known: {_NAMES}", param_hint="--kind")
    snapshot = declared(file, store)
    compiled = compile_plan(snapshot)
    print_problems(p for p in compiled.problems if not _is_met_here(p))
    if errors(compiled.problems):
        raise Refused(message="nothing was generated")
    compiled, kinds = _as_kinds(compiled, kind)
    rendered = render_all(compiled, passwords_of(snapshot) if with_secrets else None)
    made = generate_lab(lab, snapshot, compiled, rendered, kinds, images=images, with_secrets=with_secrets)
    _write(out, made)
    console.print(
        f"{out / lab}.clab.yml: {made.nodes} nodes, {len(made.files) - 1} files in configs/{lab}", markup=False
    )


def _is_met_here(problem: Problem) -> bool:
    """A node on unnumbered links is FRR in the lab, so what the speaker cannot is no problem of it."""
    return (problem.code, problem.path) == ("speaker-cannot", "spec.peerAddresses")


def _write(out: Path, made: Generated) -> None:
    print_problems(problem for problem in made.problems if problem.severity != "error")
    if errors(made.problems):
        raise Refused(errors(made.problems), "nothing was generated")
    try:
        write_atomically(out, made.files, secret=made.secret)
    except OSError as error:
        raise Refused(message=f"error: {out}: cannot be written: {error.strerror}") from error


def _as_kinds(compiled: Plan, chosen: str | None) -> tuple[Plan, Mapping[str, LabKind]]:
    """The plan with every switch on the platform of its kind. Refuses platforms that have none."""
    names = {name: chosen or kind_of(switch.platform) for name, switch in compiled.switches.items()}
    without = [_no_kind(name, compiled.switches[name].platform) for name, found in names.items() if found is None]
    if without:
        raise Refused(without, "nothing was generated")
    kinds = {name: KINDS[found] for name, found in names.items() if found is not None}
    return replace(compiled, switches={n: _on(s, kinds[n]) for n, s in compiled.switches.items()}), kinds


def _on(switch: SwitchPlan, kind: LabKind) -> SwitchPlan:
    """A release and settings are those of the declared platform, and mean nothing to another."""
    if switch.platform.partition("@")[0] == kind.platform:
        return switch
    return replace(switch, platform=kind.platform, settings=())


def _no_kind(name: str, platform: str) -> Problem:
    known = rendering.check(name, SwitchPlan(asn=1, platform=platform, router_id="192.0.2.1"))
    unknown = [problem for problem in known if problem.code == "unknown-platform"]
    if unknown:
        return unknown[0]
    message = f"no lab runs {platform}"
    hint = f"let another stand in for it with --kind ({_NAMES})"
    return Problem("error", "lab-no-kind", f"Switch/{name}", "spec.platform", message, hint)


def _lab_name(name: str | None, out: Path) -> str:
    found = name or out.absolute().name
    if not _NAME.fullmatch(found):
        message = f"{found!r} is no name of a lab: lower-case letters, digits and `-`, 31 at most"
        raise typer.BadParameter(message, param_hint="--name")
    return found


def _images(pairs: Sequence[str] | None) -> dict[str, str]:
    found = {}
    for pair in pairs or ():
        kind, sign, image = pair.partition("=")
        if not sign or not image or image.split() != [image] or kind not in (*KINDS, NODE):
            message = f"{pair!r} is not KIND=IMAGE with one of {_NAMES}, {NODE}"
            raise typer.BadParameter(message, param_hint="--image")
        found[kind] = image
    return found
