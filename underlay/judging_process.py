"""The process that judges a declaration for `judging.py`: `python -m underlay.judging_process`.

stdin has the number of objects, then a line of JSON for each: kind, name, version, document. The answer, a pickled
Declared, is all of stdout. Half a declaration, of a parent that is gone, is not judged. Signals that go to a whole
group of processes are the parent's business.
"""

from __future__ import annotations

import gc
import json
import os
import pickle
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import BinaryIO

from peering.store.protocol import Stored
from underlay.judging import judge


def main() -> int:
    """Judges once."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    gc.disable()  # whatever is made here stays until the end
    answers = os.dup(1)
    os.dup2(2, 1)  # what prints does not disturb them
    with suppress(EOFError, BrokenPipeError), os.fdopen(answers, "wb") as stdout:
        pickle.dump(judge(_objects(sys.stdin.buffer)), stdout, pickle.HIGHEST_PROTOCOL)
        return 0
    return 1


def _objects(lines: BinaryIO) -> Iterator[Stored]:
    """Raises EOFError when there are fewer than there should be."""
    left = int(lines.readline() or 0)
    for line in lines:
        left -= 1
        yield Stored(*json.loads(line))
    if left:
        raise EOFError


if __name__ == "__main__":
    sys.exit(main())
