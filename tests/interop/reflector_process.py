"""The reflector as users run it: a process of its own with the command's options, in a namespace."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import sys
from pathlib import Path
from typing import Any

from tests.interop.reflector_bird import BirdReflector
from tests.interop.reflector_lab import AS, PASSWORD, PATIENCE, Host, Lab, Process, command, eventually

_COMMAND = Path(sys.executable).parent / "underlay"
_PORT = 179
#: To be given as --metrics where a test asks for what is counted.
METRICS = "127.0.0.1:9179"


class ReflectorProcess:
    """`underlay reflector` without a store: whoever comes from the lab's subnets is a client."""

    def __init__(self, lab: Lab, host: Host) -> None:
        self.host = host
        self.process = Process(lab, host, "reflector.log")
        self._declared: tuple[str, ...] = ()

    def start(self, password: str = PASSWORD, *options: str) -> None:
        """Returns when it listens. `options` come on top."""
        secret = self.host.folder / "password"
        secret.write_text(f"{password}\n")
        secret.chmod(0o600)
        listen = (f"--listen={self.host.ipv4}:{_PORT}", f"--listen=[{self.host.ipv6}]:{_PORT}")
        accept = ("--accept=10.90.0.0/24", "--accept=fd00:90::/64", f"--password-file={secret}")
        self._run(*listen, f"--as={AS}", f"--router-id={self.host.ipv4}", *accept, *options)

    def declare(self, resources: str) -> None:
        """Applies YAML to the lab's store; a running reflector that is `declared` follows."""
        file = self.host.folder / "resources.yml"
        file.write_text(resources)
        file.chmod(0o600)
        command(str(_COMMAND), "apply", "-f", str(file), "--store", self._store)

    def retract(self, kind: str, name: str) -> None:
        command(str(_COMMAND), "delete", kind, name, "--store", self._store)

    def start_declared(self, name: str, *options: str) -> None:
        """As the RouteReflector of that name in the store; returns when it listens."""
        self._declared = (f"--name={name}", f"--store={self._store}", *options)
        self._run(*self._declared)

    @property
    def _store(self) -> str:
        return f"sqlite:{self.host.folder}/store.db"

    def _run(self, *arguments: str) -> None:
        folders = (f"--state-dir={self.host.folder}/state", f"--admin-socket={self.host.folder}/admin.sock")
        self.process.start(str(_COMMAND), "reflector", *arguments, *folders)
        eventually(self._listens, why=self.process.said)

    def _listens(self) -> bool:
        assert self.process.running, self.process.said()
        return len(self.host.run("ss", "-Htln", f"( sport = :{_PORT} )").splitlines()) >= 2

    def stop(self) -> None:
        self.process.terminate()

    def crash_and_come_back(self) -> None:
        """For one that is `declared`."""
        self.process.kill()
        self._run(*self._declared)

    def ask(self, request: str, **fields: object) -> Any:
        """The answer of the admin socket, of one line."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE)
            connection.connect(f"{self.host.folder}/admin.sock")
            connection.sendall(json.dumps({"request": request, **fields}).encode() + b"\n")
            with connection.makefile("rb") as answer:
                return json.loads(answer.readline())

    def counted(self, metric: str, **labels: str) -> float:
        """The sum of a metric's samples with these labels."""
        with self.host.inside():
            connection = http.client.HTTPConnection(METRICS, timeout=PATIENCE)
            connection.request("GET", "/metrics")
            said = connection.getresponse().read().decode()
            connection.close()
        wanted = [f'{name}="{value}"' for name, value in labels.items()]
        lines = [line for line in said.splitlines() if re.match(rf"underlay_reflector_{metric}[ {{]", line)]
        return sum(float(line.split()[-1]) for line in lines if all(word in line for word in wanted))

    def logged(self, **fields: object) -> list[dict[str, Any]]:
        """Lines of the log with all of these, where it is JSON."""
        lines = [json.loads(line) for line in self.process.said().splitlines() if line.startswith("{")]
        return [line for line in lines if fields.items() <= line.items()]


def reflector(lab: Lab) -> Any:
    """On host 1. UNDERLAY_TEST_REFLECTOR=bird puts BIRD there: a test that fails then, too, is wrong itself.

    BIRD can do less, so the return value is what the caller expects it to be.
    """
    host = lab.host("rr", 1)
    return (
        BirdReflector(lab, host) if os.environ.get("UNDERLAY_TEST_REFLECTOR") == "bird" else ReflectorProcess(lab, host)
    )
