"""The files of a node: taken from the topology's binds, written into its directory, owned by who reads them.

Paths are those inside the node, without the leading slash (`etc/frr/frr.conf`). A file is rewritten only if its
text differs. Files are readable by their owner and group only: a rendered configuration may hold a password.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterable, Mapping
from pathlib import Path

from containerlab.daemons import OWNERS, owner
from containerlab.topology import Node
from peering.problems import Problem

SOCKET_PATH_MAX = 107
"""Bytes in the path of a unix socket (sun_path, less the final zero)."""

_LONGEST_SOCKET = "run/frr/staticd.vty"


def read_binds(node: Node, base: Path) -> tuple[dict[str, str], tuple[Problem, ...]]:
    """The texts that the node's binds give its daemons, and those binds that cannot be read.

    What is bound elsewhere is for a container: no daemon of the runner would look there.
    """
    files: dict[str, str] = {}
    problems: list[Problem] = []
    for bind in node.binds:
        source, target = base / Path(bind.source).expanduser(), bind.target.strip("/")
        if "/".join(Path(target).parts[:2]) not in OWNERS:
            continue
        try:
            files |= _read(source, target)
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "is not text"
            message = f"{source}: {reason}"
            problems.append(Problem("error", "bind-unreadable", f"Node/{node.name}", "binds", message))
    return files, tuple(problems)


def _read(source: Path, target: str) -> dict[str, str]:
    if not source.is_dir():
        return {target: source.read_text(encoding="utf-8")}
    below = sorted(path for path in source.rglob("*") if path.is_file())
    return {f"{target}/{path.relative_to(source)}": path.read_text(encoding="utf-8") for path in below}


def write_files(node_dir: Path, files: Mapping[str, str]) -> tuple[str, ...]:
    """Writes what differs and returns those paths."""
    return tuple(path for path, text in files.items() if write_file(node_dir, path, text))


def write_file(node_dir: Path, path: str, text: str) -> bool:
    """Whole or not at all; True if it was another text before. The folder is made with the file's owner."""
    target, user = node_dir / path, owner(path)
    if target.is_file() and target.read_text(encoding="utf-8", errors="replace") == text:
        return False
    make_folder(node_dir, str(Path(path).parent))
    new = target.with_name(target.name + ".new")
    new.touch(0o640)
    _give(new, user)
    new.write_text(text, encoding="utf-8")
    new.replace(target)
    return True


def make_folder(node_dir: Path, path: str) -> None:
    """A folder in the node's directory and those above it; the named one belongs to who uses it."""
    (node_dir / path).mkdir(parents=True, exist_ok=True, mode=0o755)
    _give(node_dir / path, owner(path))


def _give(path: Path, user: str) -> None:
    entry = pwd.getpwnam(user)
    os.chown(path, entry.pw_uid, entry.pw_gid)


def check(node: str, node_dir: Path, paths: Iterable[str]) -> tuple[Problem, ...]:
    """What would keep the node's daemons from using its directory: no such user, no way in, too long a path."""
    users = {owner(path) for path in paths} - {"root"}
    problems = [*_missing_users(node, users)]
    if users and (closed := _closed_folder(node_dir)) is not None:
        message, hint = f"{closed} is closed to user {min(users)}", "choose another run directory, or chmod o+x it"
        problems.append(Problem("error", "run-dir-closed", f"Node/{node}", "", message, hint))
    if users and len(os.fsencode(node_dir / _LONGEST_SOCKET)) > SOCKET_PATH_MAX:
        message, hint = f"{node_dir} is too long for unix sockets", f"a path of at most {SOCKET_PATH_MAX} bytes"
        problems.append(Problem("error", "run-dir-too-long", f"Node/{node}", "", message, hint))
    return tuple(problems)


def _missing_users(node: str, users: set[str]) -> Iterable[Problem]:
    known = {entry.pw_name for entry in pwd.getpwall()}
    for user in sorted(users - known):
        hint = "containerlab/prerequisites.sh installs what is missing"
        yield Problem("error", "user-missing", f"Node/{node}", "", f"user {user} does not exist", hint)


def _closed_folder(path: Path) -> Path | None:
    """The first existing folder on the way that others may not enter."""
    existing = [folder for folder in (path, *path.parents) if folder.exists()]
    return next((folder for folder in reversed(existing) if not folder.stat().st_mode & 0o001), None)


def run_folders(paths: Iterable[str]) -> tuple[str, ...]:
    """The `run/` folders that the daemons behind these files need."""
    roots = {"/".join(Path(path).parts[:2]) for path in paths}
    wanted = {root.replace("etc/", "run/", 1) for root in roots if root.startswith("etc/")}
    return tuple(sorted(wanted & set(OWNERS)))
