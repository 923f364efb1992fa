"""Running a platform's own tools on rendered text."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path


def with_file(name: str, text: str, *argv: str) -> subprocess.CompletedProcess[str]:
    """The command on a file with this text; `{file}` is its path, which output says as its name alone."""
    with tempfile.TemporaryDirectory(prefix="underlay-judge-") as directory:
        Path(directory).chmod(0o755)
        file = Path(directory) / name
        file.write_text(text, encoding="utf-8")
        command = [word.replace("{file}", str(file)) for word in argv]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    out, err = (said.replace(str(file), name) for said in (done.stdout, done.stderr))
    return subprocess.CompletedProcess(command, done.returncode, out, err)
