"""Fuzzing by coverage, with atheris: what reaches new lines of the codec is kept in the corpus.

    pip install atheris
    python -m tests.fuzz.coverage [SECONDS]      fuzzes, then writes corpus/wire_codec.txt anew, as small as it can be

The corpus is text, one input a line in hex; the tests run all of it. An input that breaks something is left in a file
of its own by the fuzzer (`crash-…`), and belongs into the corpus once it is repaired.
"""

from __future__ import annotations

import hashlib
import importlib
import subprocess
import sys
import tempfile
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus" / "wire_codec.txt"
#: Longer inputs find nothing that shorter ones do not.
_LONGEST = 320


def read_corpus() -> list[bytes]:
    """The inputs of the target `wire_codec.fuzz_one`."""
    return [bytes.fromhex(line) for line in CORPUS.read_text(encoding="ascii").splitlines()]


def write_corpus(inputs: list[bytes]) -> None:
    lines = sorted({data.hex() for data in inputs}, key=lambda line: (len(line), line))
    CORPUS.write_text("".join(f"{line}\n" for line in lines), encoding="ascii")


def fuzz(program: str, arguments: list[str]) -> None:
    """The fuzzer itself; does not return. `program` is what it starts to have inputs tried by another process."""
    atheris = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["reflector", "peering.prefixes"]):
        target = importlib.import_module("tests.fuzz.wire_codec")
    atheris.Setup([program, f"-max_len={_LONGEST}", *arguments], target.fuzz_one)
    atheris.Fuzz()


def main() -> None:
    seconds = sys.argv[1] if len(sys.argv) > 1 else "60"
    if seconds == "--child":
        fuzz(sys.argv[2], sys.argv[3:])
    with tempfile.TemporaryDirectory() as folder:
        program, found, least = (Path(folder) / name for name in ("program", "found", "least"))
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m tests.fuzz.coverage --child "$0" "$@"\n')
        program.chmod(0o700)
        found.mkdir()
        least.mkdir()
        for data in read_corpus():
            (found / hashlib.sha1(data, usedforsecurity=False).hexdigest()).write_bytes(data)
        # libFuzzer ends the process that it runs in.
        subprocess.run([program, f"-max_total_time={seconds}", found], check=True)
        subprocess.run([program, "-merge=1", least, found], check=True)
        write_corpus([path.read_bytes() for path in least.iterdir()])


if __name__ == "__main__":
    main()
