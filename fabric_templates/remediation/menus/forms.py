"""Values in the form in which they are compared: a switch shows some of them otherwise than they were said."""

from __future__ import annotations

import re

from fabric_templates.remediation.menus.reading import Item
from fabric_templates.remediation.menus.tables import MenuReading

_SECONDS = {"w": 604800.0, "d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001, "us": 0.000001}
_TIME = re.compile(r"(?:\d+(?:w|d|h|ms|us|m|s))+")


def compared(item: Item, table: MenuReading, *, secrets: bool) -> dict[str, str]:
    """The properties that differ from their defaults. Of passwords, unless `secrets`, that there is one."""
    defaults = table.menus[item.menu].defaults
    forms = {name: _form(name, value, table, secrets) for name, value in item.values.items()}
    return {name: form for name, form in forms.items() if form != defaults.get(name)}


def _form(name: str, value: str, table: MenuReading, secrets: bool) -> str:
    if name in table.secrets:
        return value if secrets else "<hidden>"
    if name in table.addresses:
        return re.sub(r"^([0-9.]+)/32$|^([0-9a-f:]+)/128$", r"\1\2", value)
    if name in table.times:
        return _seconds(value)
    if name in table.sets:
        return ",".join(sorted(value.split(",")))
    if name in table.rules:
        return re.sub(r"\s*([(){};,=<>&|!])\s*", r"\1", " ".join(value.split())).replace(";}", "}")
    return value


def _seconds(value: str) -> str:
    """`1m30s`, `00:01:30` and `90s` are the same."""
    if _TIME.fullmatch(value):
        parts = re.findall(r"(\d+)(w|d|h|ms|us|m|s)", value)
        return f"{sum(int(number) * _SECONDS[unit] for number, unit in parts):.6f}"
    if re.fullmatch(r"\d+:\d+:\d+", value):
        hours, minutes, seconds = (int(part) for part in value.split(":"))
        return f"{hours * 3600 + minutes * 60 + seconds:.6f}"
    return value
