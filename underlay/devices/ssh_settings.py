"""What ssh on this machine has for a person: accepted host keys, a configuration, and keys to log in with.

paramiko, which netmiko, napalm and PyEZ use, finds little of it by itself, so it is told.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

_KEYS = ("id_ed25519", "id_ecdsa", "id_rsa")


def known_hosts() -> Path:
    """Where ssh keeps the host keys that a person has accepted."""
    return Path.home() / ".ssh" / "known_hosts"


def netmiko_arguments(password: str | None) -> dict[str, Any]:
    """Host keys have to be known; without a password the agent and the first of the usual keys log in."""
    found: dict[str, Any] = {"ssh_strict": True, "system_host_keys": True}
    config = Path.home() / ".ssh" / "config"
    if config.is_file():
        found["ssh_config_file"] = str(config)
    if password is None:
        found["allow_agent"] = True
        key = next((file for name in _KEYS if (file := Path.home() / ".ssh" / name).is_file()), None)
        if key is not None:
            found |= {"use_keys": True, "key_file": str(key)}
    return found
