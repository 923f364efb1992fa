"""Who logs in to a switch: from a file that nobody else can read, the environment, or the Secret that a Switch names.

Never from an argument: everybody on the machine sees those. Where there is no password, keys and the agent of ssh are
what is left, by the libraries' own settings.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from underlay.output import Refused

USERNAME = "UNDERLAY_DEVICE_USERNAME"
PASSWORD = "UNDERLAY_DEVICE_PASSWORD"
_KEYS = ("username", "password")


@dataclass(frozen=True, slots=True)
class Credentials:
    """None: not said here."""

    username: str | None = None
    password: str | None = field(default=None, repr=False)

    def or_else(self, other: Credentials) -> Credentials:
        """These, and what `other` has of the rest. A password goes with the user name that it was given with."""
        if self.username is None:
            return Credentials(other.username, self.password or other.password)
        same_user = other.username in (None, self.username)
        return Credentials(self.username, self.password or (other.password if same_user else None))


def from_environment(environment: Mapping[str, str] = os.environ) -> Credentials:
    return Credentials(environment.get(USERNAME) or None, environment.get(PASSWORD) or None)


def from_values(values: Mapping[str, str]) -> Credentials:
    """Of a Secret with the keys of `kubernetes.io/basic-auth`."""
    return Credentials(values.get("username") or None, values.get("password") or None)


def from_file(path: Path) -> Credentials:
    """A YAML mapping with `username` and `password`. Refuses a file that others may read; no message shows its text."""
    try:
        if path.stat().st_mode & 0o077:
            raise Refused(message=f"error: {path}: others may read it (chmod 600 {path})")
        found = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise Refused(message=f"error: {path}: cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise Refused(message=f"error: {path}: is no YAML") from error
    good = isinstance(found, dict) and set(found) <= set(_KEYS) and all(isinstance(v, str) for v in found.values())
    if not good or not found:
        raise Refused(message=f"error: {path}: expected username and password, both text, and nothing else")
    return from_values(found)
