"""Rendered files put into a directory, all or none. I/O; the rest of the room has none.

All files are written and synced into a staging directory on the same file system first; only then are they
moved into place, and moved back if one of the moves fails. A reader never sees half a file. Files of the
directory that are not named are somebody else's and stay.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path, PurePosixPath

_PUBLIC = 0o644
_PRIVATE = 0o600


def write_atomically(directory: Path, files: Mapping[str, str], *, secret: Collection[str] = ()) -> None:
    """Write `files` (relative name, sub-directories with `/`: text) into `directory`, which is made if missing.

    Names in `secret` get mode 0600 from their first byte on, the others 0644. Raises ValueError for a name
    that leaves the directory, and OSError with the directory as it was before.
    """
    for name in files:
        _refuse_escape(name)
    directory.mkdir(parents=True, exist_ok=True)
    stage = Path(tempfile.mkdtemp(prefix=".underlay-", dir=directory))
    try:
        for name, text in files.items():
            _write(stage / "new" / name, text, _PRIVATE if name in secret else _PUBLIC)
        _move_all(stage, directory, sorted(files))
    finally:
        shutil.rmtree(stage)


def _refuse_escape(name: str) -> None:
    path = PurePosixPath(name)
    if path.is_absolute() or not path.parts or ".." in path.parts:
        raise ValueError(f"{name!r} is no name inside a directory")


def _write(path: Path, text: str, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE)
    with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
        os.fchmod(file.fileno(), mode)


def _move_all(stage: Path, directory: Path, names: list[str]) -> None:
    moved: list[str] = []
    try:
        for name in names:
            _keep_old(stage / "old" / name, directory / name)
            os.replace(stage / "new" / name, directory / name)
            moved.append(name)
    except OSError:
        for name in moved:
            _put_back(stage / "old" / name, directory / name)
        raise


def _keep_old(backup: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    backup.parent.mkdir(parents=True, exist_ok=True)
    if target.is_file():
        os.link(target, backup)


def _put_back(backup: Path, target: Path) -> None:
    if backup.exists():
        os.replace(backup, target)
    else:
        target.unlink()
