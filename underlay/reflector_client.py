"""The other end of a reflector's admin socket: finds the socket, asks, and puts the lines of an answer together."""

from __future__ import annotations

import errno
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reflector.server.admin_socket import FOLDER, default_socket
from reflector.server.tcp_options import explain
from underlay.output import Refused

#: Seconds without a byte of the answer.
_PATIENCE = 60.0
_ANOTHER = "give its name, or the path of its socket, as --reflector"


def socket_of(text: str | None) -> Path:
    """The socket of a reflector by its name or path; without either that of the only one here. Raises Refused."""
    if text is not None:
        return Path(text) if "/" in text else default_socket(text)
    found = sorted(FOLDER.glob("*.sock"))
    if len(found) > 1:
        found = [path for path in found if not _is_left(path)] or found
    if len(found) == 1:
        return found[0]
    if not found:
        raise Refused(message=f"error: no reflector has a socket in {FOLDER} ({_ANOTHER})")
    names = ", ".join(path.stem for path in found)
    raise Refused(message=f"error: there are several reflectors here: {names} ({_ANOTHER})")


def ask(path: Path, request: str, **fields: Any) -> dict[str, Any]:
    """The answer, with all `rows` where it has any. Fields that are None are left out. Raises Refused."""
    question = {"request": request, **{name: value for name, value in fields.items() if value is not None}}
    rows: list[Any] = []
    answer: dict[str, Any] = {}
    try:
        for line in _lines(path, json.dumps(question).encode() + b"\n"):
            answer = json.loads(line)
            rows += answer.get("rows", ())
            if not answer.get("more"):
                break
    except (OSError, ValueError) as error:
        raise Refused(message=f"error: {path}: {_words(error)}") from None
    if not answer or answer.get("more"):
        raise Refused(message=f"error: {path}: the reflector hung up before its answer was whole")
    if "error" in answer:
        hint = f" ({answer['hint']})" if "hint" in answer else ""
        raise Refused(message=f"error: {answer['error']}{hint}")
    return {**answer, "rows": rows} if "rows" in answer else answer


def _is_left(path: Path) -> bool:
    """Whether it is of a process that was killed, and could not remove it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        return probe.connect_ex(str(path)) == errno.ECONNREFUSED


def _lines(path: Path, question: bytes) -> Iterator[bytes]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_PATIENCE)
        connection.connect(str(path))
        connection.sendall(question)
        with connection.makefile("rb") as answer:
            yield from answer


def _words(error: Exception) -> str:
    if isinstance(error, FileNotFoundError | ConnectionRefusedError):
        return f"no reflector listens there ({_ANOTHER})"
    if isinstance(error, PermissionError):
        return "permission denied (only the user that the reflector runs as may ask it)"
    if isinstance(error, TimeoutError):
        return "the reflector does not answer"
    return explain(error) if isinstance(error, OSError) else "that is no reflector: its answer is not JSON"
