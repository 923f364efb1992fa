"""What a switch can be asked, whatever library speaks to it.

Every method raises `DeviceError` with one line that says what went wrong; libraries have dozens of exceptions.
"""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self


class DeviceError(Exception):
    """What a switch or the library that speaks to it said, in one line."""


class Device(Protocol):
    """A switch that one has logged in to. Leaving the context closes the connection."""

    def running(self) -> str:
        """The running configuration, as `remediation` reads it."""
        ...

    def show(self, command: str) -> str:
        """What the switch prints for a command of its command line."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class ConfirmingDevice(Device, Protocol):
    """A switch that takes a change back by itself unless it is confirmed in time.

    `load`, `difference`, then `discard` or `commit`; after that `confirm` or `roll_back`.
    """

    def pending(self) -> bool:
        """Whether a change waits for its confirmation, whoever made it."""
        ...

    def load(self, text: str) -> None:
        """Puts lines into a candidate, on top of what runs. Nothing is in force yet."""
        ...

    def difference(self) -> str:
        """From what runs to the candidate, in the switch's words; empty where there is none."""
        ...

    def discard(self) -> None:
        """Forgets the candidate."""
        ...

    def commit(self, seconds: int) -> None:
        """Puts the candidate in force, for `seconds` unless it is confirmed; a multiple of 60."""
        ...

    def confirm(self) -> None:
        """Makes the change stay, and saves it as the startup configuration."""
        ...

    def roll_back(self) -> None:
        """Takes the change back now."""
        ...

    def sessions(self) -> dict[str, bool]:
        """Neighbour's address, as `ipaddress` writes it -> whether its session is up. In every VRF."""
        ...


def one_line(error: BaseException) -> str:
    """What an exception says, without line breaks."""
    text = " ".join(str(error).split())
    return text or type(error).__name__
