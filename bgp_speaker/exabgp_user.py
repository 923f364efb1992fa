"""Under which account ExaBGP runs: an unprivileged one if that can work here, else our own.

ExaBGP started as root opens what needs root and then becomes `exabgp_daemon_user`, before it starts its helper.
That user must be able to run the interpreter, import ExaBGP's package (parts of it are imported late) and
read the shim. With a virtual environment below a home directory of mode 0700 it cannot, and ExaBGP would
stay up without its helper, doing nothing. So it is tried: a process of that user does these three things.

`exabgp_daemon_drop=false` is no way to stay root: it changes the order only, and a respawned helper would
run as another user than the first. Naming our own account as the user is.
"""

from __future__ import annotations

import asyncio
import os
import pwd
from collections.abc import Callable, Sequence
from dataclasses import dataclass

DEFAULT_USER = "nobody"
_PROBE_TIMEOUT = 20.0
_PROBE = "import sys, exabgp.application.main; open(sys.argv[1]).close()"


@dataclass(frozen=True, slots=True)
class Account:
    """Who owns ExaBGP's files and process. `name` is what ExaBGP is told."""

    name: str
    uid: int
    gid: int


async def choose_account(preferred: str, interpreter: str, shim: str, log: Callable[[str], None]) -> Account:
    """The preferred account if we may change to it and it can run ExaBGP, else our own, with one line why."""
    own = _own_account()
    if own.uid != 0 or preferred == own.name:
        return own
    account = _account(preferred)
    if account is None:
        log(f"ExaBGP runs as {own.name}: there is no user {preferred}")
        return own
    if not await can_run(account, [interpreter, "-I", "-c", _PROBE, shim]):
        log(f"ExaBGP runs as {own.name}: {preferred} cannot run {interpreter} with ExaBGP, or read {shim}")
        return own
    return account


async def can_run(account: Account, command: Sequence[str]) -> bool:
    """Whether the command ends well as that user, without any group of ours. Needs root."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            user=account.uid,
            group=account.gid,
            extra_groups=(),
            cwd="/",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError:
        return False
    try:
        return await asyncio.wait_for(process.wait(), _PROBE_TIMEOUT) == 0
    except TimeoutError:
        process.kill()
        await process.wait()
        return False


def _own_account() -> Account:
    uid, gid = os.getuid(), os.getgid()
    try:
        return Account(pwd.getpwuid(uid).pw_name, uid, gid)
    except KeyError:
        return Account(str(uid), uid, gid)


def _account(name: str) -> Account | None:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
