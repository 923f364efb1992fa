"""Many processes that begin the same at one moment, forked from this one so that 500 of them fit into memory."""

from __future__ import annotations

import gc
import json
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

#: What a process does: it gets its number, calls the function when it is ready to begin, returns what JSON can say.
Work = Callable[[int, Callable[[], None]], Any]


@dataclass(frozen=True, slots=True)
class Done:
    """When the processes began, by `time.monotonic()` of the machine, and what each of them returned."""

    began: float
    answers: list[Any]


def run_at_once(count: int, work: Work) -> Done:
    """Runs `work` in so many processes. This one must have no thread. Raises RuntimeError when one of them fails."""
    ready_read, ready_write = os.pipe()
    start_read, start_write = os.pipe()
    gc.freeze()  # or the collector of each child would make its own copy of everything
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        answers = [Path(folder) / str(number) for number in range(count)]
        pids = []
        for number, answer in enumerate(answers):
            pid = os.fork()
            if not pid:
                os.close(start_write)
                _child(partial(work, number, partial(_wait, ready_write, start_read)), answer)
            pids.append(pid)
        os.close(ready_write)
        _read_all(ready_read, count)
        began = time.monotonic()
        os.close(start_write)
        failed = sum(os.waitpid(pid, 0)[1] != 0 for pid in pids)
        os.close(ready_read)
        os.close(start_read)
        if failed:
            raise RuntimeError(f"{failed} of {count} processes failed")
        return Done(began, [json.loads(answer.read_text()) for answer in answers])


def _wait(ready: int, start: int) -> None:
    os.write(ready, b"r")
    os.read(start, 1)


def _read_all(ready: int, count: int) -> None:
    """Waits for all; one that failed before it was ready is seen by its end."""
    while count and (found := os.read(ready, count)):
        count -= len(found)


def _child(work: Callable[[], Any], answer: Path) -> None:
    code = 1
    try:
        answer.write_text(json.dumps(work()))
        code = 0
    except BaseException:  # noqa: BLE001  the child must not go on as its parent
        traceback.print_exc()
        sys.stderr.flush()
    os._exit(code)
