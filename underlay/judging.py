"""What the plan of a declaration says of each object, for statuses: compiled here, or beside this process.

The plan of a large fabric takes seconds, in which a process does nothing else, and more than 100 MiB, of which a Python
process keeps the most for good. Of all that, a status needs little. So where there is much, a process of its own
(judging_process.py) is given the documents, answers, and ends. One that is killed has given no answer, and is begun
again by whoever asks the next time.
"""

from __future__ import annotations

import asyncio
import json
import pickle
from asyncio.subprocess import Process
from collections.abc import Iterable, Sequence
from contextlib import suppress

from peering import worker_process
from peering.compile import plan
from peering.problems import Problem
from peering.resource import Resource
from peering.snapshot import Snapshot
from peering.store.protocol import Stored
from peering.store.resources import to_resource
from underlay.conditions import Declared, declared

#: So many objects are compiled in less time than a process needs to begin.
_FEW = 500


async def judged(objects: Sequence[Stored]) -> Declared:
    """What is declared, judged. Raises OSError where the process that does it cannot, or has ended."""
    return judge(objects) if len(objects) <= _FEW else await _judged_beside(objects)


def judge(objects: Iterable[Stored]) -> Declared:
    """The same, here and now."""
    resources: list[Resource] = []
    unreadable: list[Problem] = []
    for parsed in map(to_resource, objects):
        if isinstance(parsed, Resource):
            resources.append(parsed)
        else:
            unreadable += parsed
    snapshot = Snapshot(resources)
    return declared(plan(snapshot), snapshot, unreadable)


async def _judged_beside(objects: Sequence[Stored]) -> Declared:
    process = await worker_process.start("underlay.judging_process")
    try:
        with suppress(ConnectionError):  # it has ended, which is told below
            await _write(process, objects)
        assert process.stdout is not None
        answer = await process.stdout.read()
        status = await process.wait()
    except asyncio.CancelledError:
        process.kill()
        raise
    finally:
        await worker_process.end(process)
    if status or not answer:
        raise ChildProcessError(f"the process that compiles the plan has ended (status {status})")
    found: Declared = pickle.loads(answer)
    return found


async def _write(process: Process, objects: Sequence[Stored]) -> None:
    """How many there are, then each in a line: so it knows them all, and neither process holds them twice."""
    assert process.stdin is not None
    process.stdin.write(b"%d\n" % len(objects))
    for one in objects:
        line = json.dumps([one.kind, one.name, one.version, one.document], separators=(",", ":"))
        process.stdin.write(line.encode() + b"\n")
        await process.stdin.drain()
    process.stdin.write_eof()
