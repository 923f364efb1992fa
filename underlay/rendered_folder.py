"""Rendered configurations in DIR/SWITCH/FILE, kept current: written where they change, removed where they end.

`DIR/.underlay-rendered.json` is the index of what was written: switch, file, and a hash of each text that may stand
there. It is written first, so a crash in between leaves a file that is known. A file is removed only when it
has a text of the index; one that somebody edited stays, and so does everything that is not in the index. A folder
goes when it is empty. Nothing is removed while no switch is declared at all: that is a store that has lost its
switches, not a fabric that has.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping
from pathlib import Path, PurePosixPath

from fabric_templates.output import write_atomically
from peering.resource import is_name

INDEX = ".underlay-rendered.json"

#: Switch -> file -> hashes of its last text and the one before.
Index = dict[str, dict[str, list[str]]]


class RenderedFolder:
    """One folder, written by one controller."""

    def __init__(self, path: Path, log: Callable[[str], None]) -> None:
        self._path = path
        self._log = log
        self._index: Index | None = None
        self._current: dict[str, dict[str, str]] = {}

    def keep(self, switch: str, files: Mapping[str, str], secret: Collection[str] = ()) -> bool:
        """Writes the switch's files unless they were written already; True when it did. Raises OSError."""
        if self._current.get(switch) == files:
            return False
        known = self._read_index().get(switch, {})
        entry = {name: [*known.get(name, [])[-1:], _hash(text)] for name, text in files.items()}
        self._write_index(switch, {**known, **entry})
        write_atomically(self._path / switch, files, secret=secret)
        gone = [name for name in known if name not in files]
        if gone:
            self._remove(switch, gone)
            self._write_index(switch, entry)
        self._current[switch] = dict(files)
        return True

    def remove_all_but(self, switches: Collection[str]) -> None:
        """Removes what was written for other switches. Raises OSError."""
        if not switches:
            return
        for switch in [name for name in self._read_index() if name not in switches]:
            self._remove(switch, list(self._read_index()[switch]))
            self._write_index(switch, None)
            self._current.pop(switch, None)

    def _remove(self, switch: str, names: Collection[str]) -> None:
        folder = self._path / switch
        for name in names:
            file = folder / name
            if not file.is_file() or file.is_symlink():
                continue
            if _hash(file.read_text(encoding="utf-8", errors="replace")) in self._read_index()[switch][name]:
                file.unlink()
                self._log(f"removed {file}: nothing is rendered there any more")
            else:
                self._log(f"{file} stays: somebody changed it after it was rendered")
        for place in sorted({folder, *((folder / name).parent for name in names)}, reverse=True):
            if place.is_dir() and not place.is_symlink() and not any(place.iterdir()):
                place.rmdir()

    def _read_index(self) -> Index:
        if self._index is None:
            try:
                self._index = _checked(json.loads((self._path / INDEX).read_text(encoding="utf-8")))
            except FileNotFoundError:
                self._index = {}
            except ValueError:
                self._log(f"{self._path / INDEX} cannot be read: what was rendered before stays where it is")
                self._index = {}
        return self._index

    def _write_index(self, switch: str, entry: Mapping[str, list[str]] | None) -> None:
        index = {name: files for name, files in self._read_index().items() if name != switch}
        if entry is not None:
            index[switch] = dict(entry)
        # For its owner only: a hash of a text that is known but for a password would let anybody try passwords.
        write_atomically(self._path, {INDEX: json.dumps(index, indent=1, sort_keys=True) + "\n"}, secret=(INDEX,))
        self._index = index


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _checked(data: object) -> Index:
    """Raises ValueError for an index that names anything outside the folder."""
    if not isinstance(data, dict):
        raise ValueError("no index")
    for switch, files in data.items():
        inside = isinstance(files, dict) and all(_is_inside(name) for name in files)
        if not is_name(switch) or not inside or not all(isinstance(hashes, list) for hashes in files.values()):
            raise ValueError(f"{switch!r} is no entry of an index")
    return data


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts
