"""`python -m peering.crds FOLDER` writes the CRDs; `make crds` calls it."""

from __future__ import annotations

import sys
from pathlib import Path

from peering.crds import folder_files


def main(arguments: list[str]) -> int:
    """Writes one file per kind; exit code 2 on wrong usage."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m peering.crds FOLDER\n")
        return 2
    folder = Path(arguments[0])
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in folder_files().items():
        (folder / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
