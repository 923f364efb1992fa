"""What reflectors on this machine say of their sessions, by their admin sockets, for `verify`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fabric_templates.verification.end import End
from fabric_templates.verification.pairs import Heard
from peering.problems import Problem
from underlay.output import Refused
from underlay.reflector_client import ask, socket_of


def hear_reflectors(named: Iterable[str], sockets: Mapping[str, Path]) -> tuple[dict[str, Heard], list[Problem]]:
    """What each says, by its name, and who does not answer. `named` are names or sockets, `sockets` those by name."""
    heard: dict[str, Heard] = {}
    problems: list[Problem] = []
    for text, path in [*((text, None) for text in named), *sockets.items()]:
        try:
            name, ends = _asked(path or socket_of(text))
            heard[name] = Heard(ends)
        except Refused as refused:
            message = f"does not answer: {refused.message.removeprefix('error: ')}"
            hint = "look whether it runs on this machine"
            problems.append(Problem("error", "reflector-unreachable", f"RouteReflector/{text}", "", message, hint))
    return heard, problems


def _asked(path: Path) -> tuple[str, dict[str, End]]:
    name = str(ask(path, "status")["reflector"])
    return name, {row["name"]: _end(row) for row in ask(path, "neighbors", limit=0)["rows"]}


def _end(row: Mapping[str, Any]) -> End:
    """What it told its neighbour is not in the row; the AS is the neighbour's own, once it has said one."""
    families = row["families"].values()
    return End(
        state=row["state"],
        reason=row["lastError"],
        received=sum(family["received"] for family in families),
        accepted=sum(family["accepted"] for family in families),
    )
