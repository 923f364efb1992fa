"""What the commands that serve HTTP have in common: where they listen, and a server that is an extra of the package."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from underlay.output import Refused
from underlay.reflector_options import Endpoint, Reader


def place_of(listen: str) -> Endpoint:
    """Of `--listen ADDR:PORT`. Raises Refused."""
    reader = Reader()
    place = reader.endpoint("--listen", listen)
    if place is None:
        raise Refused(reader.problems)
    return place


def server_of(module: str, extra: str) -> Any:
    """The module with the server; `extra` of the package has what it imports. Raises Refused."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise Refused(message=f"error: {error.name} is not installed: pip install 'underlay[{extra}]'") from None
