"""What an inventory has of a switch."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Found:
    """`platform` as the inventory calls it; `hint` what to do where `address` is empty."""

    address: str = ""
    port: int | None = None
    platform: str = ""
    driver: str | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    hint: str = ""
