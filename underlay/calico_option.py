"""`--calico-crds`, of every command that takes `--store`: a word for the setting of that name in the store's URL."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any

import typer

from peering.store.open_store import reading_calico
from peering.store.protocol import StoreError

_OPTION = "--calico-crds"
_NAME = "calico_crds"
CalicoOption = Annotated[bool, typer.Option(_OPTION, help="With --store kubernetes: read Calico's own resources, too.")]


def with_calico_option(app: typer.Typer) -> None:
    """Gives it to all commands of the app and of its groups that work on a store."""
    for command in app.registered_commands:
        if command.callback is not None:
            command.callback = _taking(command.callback)
    for group in app.registered_groups:
        if group.typer_instance is not None:
            with_calico_option(group.typer_instance)


def _taking(callback: Callable[..., Any]) -> Callable[..., Any]:
    """The callback with one parameter more, behind `store`; as it is, when it has no store or was given it before."""
    signature = inspect.signature(callback, eval_str=True)
    if "store" not in signature.parameters or _NAME in signature.parameters:
        return callback

    @wraps(callback)
    def command(*args: Any, **given: Any) -> Any:
        if given.pop(_NAME):
            given["store"] = _reading_calico(given["store"])
        return callback(*args, **given)

    parameters = [*signature.parameters.values()]
    place = list(signature.parameters).index("store") + 1
    kind = signature.parameters["store"].kind
    parameters.insert(place, inspect.Parameter(_NAME, kind, default=False, annotation=CalicoOption))
    command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return command


def _reading_calico(url: str) -> str:
    """Raises BadParameter."""
    try:
        return reading_calico(url)
    except StoreError as error:
        raise typer.BadParameter(str(error), param_hint=_OPTION) from None
