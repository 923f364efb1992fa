"""What a comparison gives, and what it has to tell besides lines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from peering.problems import Problem


@dataclass(frozen=True, slots=True)
class Remedy:
    """`lines` in the platform's syntax, none where the switch runs what the plan says; nothing where `problems` has an
    error. Problems of severity `info` tell what is left alone."""

    lines: tuple[str, ...]
    problems: tuple[Problem, ...] = ()


class Whose(Protocol):
    """Keys of `foreign` neighbours and `networks`; `taken` are neighbours of the plan that were made by hand."""

    @property
    def foreign(self) -> tuple[str, ...]: ...

    @property
    def networks(self) -> tuple[str, ...]: ...

    @property
    def taken(self) -> tuple[str, ...]: ...


def empty(where: str, show: str) -> Problem:
    hint = f"give the output of: {show}"
    return Problem("error", "running-config-empty", where, "", "the running configuration has no line", hint)


def not_read(where: str, why: str, show: str) -> Problem:
    message, hint = f"the running configuration cannot be read: {why}", f"give the output of: {show}"
    return Problem("error", "running-config-unreadable", where, "", message, hint)


def as_differs(where: str, asn: str, wanted: int) -> Problem:
    message = f"the switch runs BGP with AS {asn}, the plan has AS {wanted}"
    hint = "correct spec.asNumber, or remove the instance from the switch: all its sessions go down"
    return Problem("error", "running-as-differs", where, "spec.asNumber", message, hint)


def notes(where: str, parts: Whose) -> Iterator[Problem]:
    """What is told of it."""
    for key in parts.foreign:
        message, hint = "is on the switch and not in the plan; it is left alone", "declare it, if it is to be ours"
        yield Problem("info", "foreign-neighbor", where, f"neighbor {key}", message, hint)
    for key in parts.networks:
        message, hint = "is announced by the switch and not in the plan; it is left alone", "remove it by hand"
        yield Problem("info", "foreign-network", where, f"network {key}", message, hint)
    for key in parts.taken:
        message = "was made by hand, and the plan has it, too: from now on it is as the plan says"
        hint = "lines that only the switch has are removed"
        yield Problem("warning", "neighbor-taken-over", where, f"neighbor {key}", message, hint)
