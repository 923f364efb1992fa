"""A switch as somebody who wants to log in sees it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Target:
    """`name` is the Switch's, `platform` ours with or without release. `username` and `password` are of an inventory
    that has some; what `Credentials` says comes first."""

    name: str
    platform: str
    address: str
    port: int | None = None
    driver: str | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    @property
    def where(self) -> str:
        """The object that problems name."""
        return f"Switch/{self.name}"
