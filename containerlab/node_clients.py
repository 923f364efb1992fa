"""`vtysh`, `birdc`, `gobgp` and `bgpctl` of a node as programs on its PATH, also for scripts that know of no lab.

A container has its own `/run`; nodes of the lab share the machine's, so a client has to be told where its daemon's
socket is. Each of these programs says that and becomes the real one. They lie in the node's directory and go with it.
"""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

from containerlab.daemons import clients

#: Its name is how it is known as ours in the PATH of a shell that itself runs in a node.
_FOLDER = "lab-clients"


def search_path(node_dir: Path, path: str) -> str:
    """`path` (as in PATH) with a folder of the node's clients first; of other nodes' it has none any more.

    A client that is not installed is not there either. Raises OSError where `node_dir` cannot be written.
    """
    others = os.pathsep.join(place for place in path.split(os.pathsep) if Path(place).name != _FOLDER)
    folder = node_dir / _FOLDER
    folder.mkdir(exist_ok=True)
    for name, (program, *arguments) in clients(node_dir).items():
        if real := shutil.which(program, path=others):
            _put(folder / name, wrapper((real, *arguments)))
    return os.pathsep.join((str(folder), others))


def wrapper(argv: Sequence[str]) -> str:
    """A program that becomes `argv` with its own arguments after them."""
    return f'#!/bin/sh\nexec {shlex.join(argv)} "$@"\n'


def _put(file: Path, text: str) -> None:
    """Whole or not at all: another `lab exec` may be about to run it."""
    if file.is_file() and file.read_text(encoding="utf-8") == text:
        return
    new = file.with_name(f".{file.name}.{os.getpid()}")
    new.write_text(text, encoding="utf-8")
    new.chmod(0o755)
    new.replace(file)
