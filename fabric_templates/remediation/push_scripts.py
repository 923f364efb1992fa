"""What a push has the switch do, as scripts for its shell. Nothing is run here.

Who takes a change back when the pushing process is gone? The switch: before a line of it is in force, a timer runs
there on its own. Confirming and taking back are the renaming of one file, `pending-TOKEN`, which only one of them can
do; so a confirmation that comes too late fails, and the timer of an earlier push finds nothing.

    prepare ─► apply ─► confirm                the files go
                  └───► take back, or the timer does so
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from shlex import quote

from fabric_templates.remediation.tables import PushCommands

#: Exit codes of the scripts: another push is on its way; the change is not pending (any more).
BUSY = 75
NOT_PENDING = 76


@dataclass(frozen=True, slots=True)
class Scripts:
    """Those of one push. `folder` is on the switch, `token` is of this push alone."""

    folder: str
    token: str
    commands: PushCommands

    def look(self) -> str:
        """Prints the running configuration, unless a push is on its way."""
        return f"test ! -e {quote(self.folder)} || exit {BUSY}\n{self._said(self.commands.show, '')}\n"

    def prepare(self, files: Mapping[str, str]) -> str:
        """Puts `files` there, readable by nobody else, and has the switch's parser look at `plan`."""
        put = "\n".join(f"cat > {name} <<'{self._end}'\n{text.rstrip()}\n{self._end}" for name, text in files.items())
        return f"""set -e
mkdir -p "$(dirname {quote(self.folder)})"
umask 077
mkdir {quote(self.folder)} || {{ test ! -e {quote(self.folder)} || exit {BUSY}; exit 1; }}
cd {quote(self.folder)}
{put}
{self._said(self.commands.check, "plan")} || {{ code=$?; {self._gone}; exit $code; }}
"""

    def discard(self) -> str:
        return f"{self._gone}\n"

    def apply(self, seconds: int) -> str:
        """Starts the timer and says the lines. Exit code: that of the latter."""
        timer = f"sleep {seconds}; {self._take_back('expired')}"
        return f"""cd {quote(self.folder)} || exit {NOT_PENDING}
umask 077
: > pending-{self.token}
setsid sh -c {quote(timer)} </dev/null >/dev/null 2>&1 &
{self._said(self.commands.load, "forth")}
"""

    def confirm(self) -> str:
        return f"{self._claim('confirmed')}\n{self._gone}\n"

    def take_back(self) -> str:
        return f"{self._take_back('undone')}\n"

    def _take_back(self, word: str) -> str:
        return f"{self._claim(word)}\n{self._said(self.commands.load, 'back')}\ncode=$?\n{self._gone}\nexit $code"

    def _claim(self, word: str) -> str:
        return f"cd {quote(self.folder)} && mv pending-{self.token} {word} || exit {NOT_PENDING}"

    def _said(self, argv: tuple[str, ...], file: str) -> str:
        return " ".join(quote(word.replace("{file}", f"{self.folder}/{file}")) for word in argv)

    @property
    def _gone(self) -> str:
        return f"cd / && rm -rf {quote(self.folder)}"

    @property
    def _end(self) -> str:
        return f"END-{self.token}"
