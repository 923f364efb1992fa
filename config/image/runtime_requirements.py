"""`runtime_requirements.py PYPROJECT LOCK`: the lines of the lock file that the program needs when it runs.

A line of the lock says for whom a package is there, as in `markupsafe==3.0.4  # via jinja2`. What stands in
`dependencies` or an extra named `kubernetes` is needed, and what is there for it; what only tests need is not.
Only the standard library: this runs before anything is installed.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

#: Extras that the image has.
EXTRAS = ("kubernetes",)
_LINE = re.compile(r"(?P<name>[\w.-]+)==(?P<version>\S+)\s+# via (?P<via>.+)")


def needed(pyproject: str, lock: str) -> list[str]:
    """`["jinja2==3.1.6", ...]`. Raises KeyError where the lock lacks a dependency."""
    project = tomllib.loads(pyproject)["project"]
    extras = project.get("optional-dependencies", {})
    wanted = [*project["dependencies"], *(r for extra in EXTRAS for r in extras.get(extra, ()))]
    rows = {_plain(m["name"]): m for m in map(_LINE.match, lock.splitlines()) if m}
    found: dict[str, str] = {}
    todo = [_plain(re.split(r"[<>=~!\[; ]", requirement)[0]) for requirement in wanted]
    while todo:
        name = todo.pop()
        if name not in found:
            found[name] = f"{rows[name]['name']}=={rows[name]['version']}"
            todo += [other for other, row in rows.items() if name in map(_plain, row["via"].split(", "))]
    return sorted(found.values())


def _plain(name: str) -> str:
    return name.strip().lower().replace("_", "-").replace(".", "-")


if __name__ == "__main__":
    print("\n".join(needed(*(Path(path).read_text(encoding="utf-8") for path in sys.argv[1:3]))))  # noqa: T201
