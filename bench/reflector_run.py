"""One run inside a namespace of its own: a reflector, rrbench, perhaps an attacker; started by bench/reflector.py.

    bench/rrbench/ns.sh python bench/reflector_run.py < SPEC

The specification is JSON (`Spec`), the answer is rrbench's JSON on standard output, with what the attacker counted and
what was scraped. Whatever still runs when this ends is killed with the namespace.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any, TypedDict

_HERE = Path(__file__).resolve().parent
_BUILD = _HERE / "rrbench" / "build"
#: /proc/net/tcp's words for port 179 and for LISTEN.
_PORT, _LISTEN = ":00B3", "0A"
_SETTLE_S, _STOP_S = 0.5, 3.0
_ATTACK_LEAD_S = 1.0
#: More often than people have Prometheus ask.
_SCRAPE_EVERY_S = 5.0

Answer = dict[str, Any]


class Spec(TypedDict):
    """`argv` starts the reflector in `folder`; `rrbench` are arguments, `ends_in` the seconds it may take."""

    folder: str
    argv: list[str]
    environment: dict[str, str]
    ready_s: float
    metrics: str | None
    attack: str | None
    rrbench: list[str]
    ends_in: float


class Scraper(threading.Thread):
    """Asks for the metrics again and again, as Prometheus does."""

    def __init__(self, address: str) -> None:
        super().__init__(daemon=True)
        self._url = f"http://{address}/metrics"
        self._ended = threading.Event()
        self.told: dict[str, Any] = {"scrapes": 0, "bytes": 0, "slowest_s": 0.0, "failure": None}

    def run(self) -> None:
        while not self._ended.wait(_SCRAPE_EVERY_S if self.told["scrapes"] else 0):
            began = time.monotonic()
            try:
                with urllib.request.urlopen(self._url, timeout=_SCRAPE_EVERY_S) as page:
                    size = len(page.read())
            except OSError as error:
                self.told["failure"] = str(error)
                self._ended.wait(1)
                continue
            self.told["scrapes"] += 1
            self.told["bytes"] = max(self.told["bytes"], size)
            self.told["slowest_s"] = round(max(self.told["slowest_s"], time.monotonic() - began), 3)

    def end(self) -> dict[str, Any]:
        self._ended.set()
        return self.told


def run(spec: Spec) -> Answer:
    """What rrbench answered; `ok` false with a reason where it came to no answer."""
    _raise_limits()
    with (Path(spec["folder"]) / "out").open("w+", encoding="utf-8", errors="replace") as log:
        try:
            daemon = subprocess.Popen(
                spec["argv"],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **spec["environment"]},
                cwd=_HERE.parent,
            )
        except OSError as error:
            return _failed(str(error))
        if not _listens(daemon, spec["ready_s"]):
            log.seek(0)
            return _failed(f"does not listen on port 179: {log.read()[-500:]}")
        time.sleep(_SETTLE_S)
        answer = _measured(spec, daemon)
    _stop(daemon)
    return answer


def _raise_limits() -> None:
    """For all that is started here. Niceness keeps others' work out, for every contender alike."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        os.nice(-10)
    except OSError:
        pass


def _listens(daemon: subprocess.Popen[bytes], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not _somebody_listens():
        if daemon.poll() is not None or time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _somebody_listens() -> bool:
    lines = [line for name in ("tcp", "tcp6") for line in Path("/proc/net", name).read_text().splitlines()[1:]]
    return any(words[1].endswith(_PORT) and words[3] == _LISTEN for words in map(str.split, lines))


def _measured(spec: Spec, daemon: subprocess.Popen[bytes]) -> Answer:
    scraper = Scraper(spec["metrics"]) if spec["metrics"] else None
    if scraper:
        scraper.start()
    attacker = _attacker(spec["attack"]) if spec["attack"] else None
    answer = _rrbench(spec, daemon.pid)
    if attacker:
        attacker.terminate()
        told = attacker.communicate(timeout=_STOP_S)[0]
        answer["attack"] = json.loads(told) if told else {"failed": attacker.returncode}
    if scraper:
        answer["metrics"] = scraper.end()
    if daemon.poll() is not None:
        return answer | _failed(f"the reflector ended with {daemon.returncode}")
    return answer


def _attacker(kind: str) -> subprocess.Popen[bytes]:
    """It must not win by taking the CPU from reflector and generator, which would have machines of their own."""
    attacker = subprocess.Popen(["nice", "-n", "10", str(_BUILD / "attacker"), kind], stdout=subprocess.PIPE)
    time.sleep(_ATTACK_LEAD_S)
    return attacker


def _rrbench(spec: Spec, pid: int) -> Answer:
    argv = [str(_BUILD / "rrbench"), f"--pid={pid}", *spec["rrbench"]]
    try:
        done = subprocess.run(
            argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=spec["ends_in"], check=False
        )
    except subprocess.TimeoutExpired:
        return _failed(f"rrbench: not done after {spec['ends_in']:g} s")
    if not done.stdout:
        return _failed(f"rrbench: exit {done.returncode}")
    answer: Answer = json.loads(done.stdout)
    return answer


def _failed(reason: str) -> Answer:
    return {"ok": False, "reason": reason}


def _stop(daemon: subprocess.Popen[bytes]) -> None:
    """Asks it to end, so that it leaves nothing behind; who does not is killed with the namespace."""
    daemon.terminate()
    try:
        daemon.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        pass


if __name__ == "__main__":
    print(json.dumps(run(json.load(sys.stdin))))
