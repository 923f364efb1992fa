"""Processes of our own beside this one, for what takes long or much memory: a module with pipes as stdin and stdout."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process

_END_S = 1.0


async def start(module: str, *arguments: str) -> Process:
    """`python -m MODULE`, which finds what this process finds. Raises OSError."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    argv = (sys.executable, "-P", "-m", module, *arguments)
    return await asyncio.create_subprocess_exec(*argv, stdin=PIPE, stdout=PIPE, env=environment)


async def end(process: Process) -> None:
    """It ends by itself when its stdin does; else it is killed."""
    assert process.stdin is not None
    process.stdin.close()
    try:
        async with asyncio.timeout(_END_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
