"""DELs that the plugin could not tell the agent: files in a folder, each applied once it is there, and then removed.

A file is taken (renamed) before its DEL is applied and removed after: what the plugin writes under the same name
meanwhile is another DEL, and stays. A crash in between leaves a taken file, whose DEL is applied once more, which
changes nothing. One that cannot be read is put aside for a person; its container is the collector's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ipam.cni_plugin import is_identifier, is_interface
from ipam.cni_request import Attachment

_TAKEN = "~"
_ASIDE = ".unreadable-"


@dataclass(frozen=True, slots=True)
class Deletion:
    """A DEL that was taken from the folder."""

    attachment: Attachment
    path: Path

    def done(self) -> None:
        """It is applied: its file goes."""
        with suppress(FileNotFoundError):
            self.path.unlink()


def is_empty(folder: Path) -> bool:
    """Whether no DEL waits. A folder that is not there is empty."""
    return next(_waiting(folder), None) is None


def take_all(folder: Path) -> Iterator[Deletion]:
    """All DELs that wait. Raises OSError."""
    for path in sorted(_waiting(folder)):
        taken = path if path.name.startswith(_TAKEN) else path.rename(path.with_name(_TAKEN + path.name))
        try:
            attachment = _read(taken.read_bytes())
        except FileNotFoundError:
            continue  # it was applied a moment ago: the same DEL waited, and was told once more
        except (ValueError, KeyError, TypeError):
            taken.rename(taken.with_name(_ASIDE + path.name))
            continue
        yield Deletion(attachment, taken)


def _waiting(folder: Path) -> Iterator[Path]:
    with suppress(FileNotFoundError):
        yield from (path for path in folder.iterdir() if path.suffix == ".json" and not path.name.startswith("."))


def _read(text: bytes) -> Attachment:
    said = json.loads(text)
    attachment = Attachment(said["network"], said["containerID"], said["ifname"])
    if not (is_identifier(attachment.network) and is_identifier(attachment.container)):
        raise ValueError("no container")
    if not is_interface(attachment.interface):
        raise ValueError("no interface")
    return attachment
