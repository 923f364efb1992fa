"""An SSH server on loopback whose logins are shells on a terminal, for drivers that talk to a command line."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import struct
import termios
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import asyncssh

_LOGIN = ("operator", "let-me-in")


class SshLogin:
    """A context: each login runs `shell` on a terminal of the size that the client asks for. `known_hosts` is the line
    that a client has to have of it; `key`, a private key that logs in without a password."""

    def __init__(self, shell: Sequence[str], environment: dict[str, str]) -> None:
        self._shell, self._environment = tuple(shell), environment
        self._host_key = asyncssh.generate_private_key("ssh-ed25519")
        self.key = asyncssh.generate_private_key("ssh-ed25519")
        self.user, self.password = _LOGIN
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: Any = None
        self._children: list[asyncio.subprocess.Process] = []

    @property
    def known_hosts(self) -> str:
        return f"[127.0.0.1]:{self.port} {self._host_key.export_public_key().decode()}"

    def trust(self, home: Path) -> None:
        """Makes a person of `home` know the server and have the key."""
        (home / ".ssh").mkdir(mode=0o700, exist_ok=True)
        (home / ".ssh" / "known_hosts").write_text(self.known_hosts)

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = self._do(self._listen())
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _do(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _listen(self) -> Any:
        return await asyncssh.create_server(
            lambda: _Server(self.key.convert_to_public()),
            "127.0.0.1",
            0,
            server_host_keys=[self._host_key],
            process_factory=self._serve,
            encoding=None,
            line_editor=False,
        )

    async def _close(self) -> None:
        self._server.close()
        await self._server.wait_closed()
        for child in [child for child in self._children if child.returncode is None]:
            child.kill()
            await child.wait()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, process: Any) -> None:
        ours, theirs = pty.openpty()
        columns, rows, *_ = process.term_size
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows or 24, columns or 80, 0, 0))
        child = await asyncio.create_subprocess_exec(
            *self._shell, stdin=theirs, stdout=theirs, stderr=theirs, env=self._environment, start_new_session=True
        )
        self._children.append(child)
        os.close(theirs)
        out, into = os.fdopen(os.dup(ours), "rb", buffering=0), os.fdopen(ours, "wb", buffering=0)
        await process.redirect(stdin=into, stdout=out)
        waiting = asyncio.ensure_future(child.wait())
        await asyncio.wait((waiting, asyncio.ensure_future(process.wait_closed())), return_when="FIRST_COMPLETED")
        if child.returncode is None:
            child.kill()
        await waiting
        process.exit(0)


class _Server(asyncssh.SSHServer):
    def __init__(self, key: Any) -> None:
        self._key = key

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return (username, password) == _LOGIN

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: Any) -> bool:
        return bool(username == _LOGIN[0] and key == self._key)
