"""`underlay`: the command line. Each family of commands is a module; this one puts them together.

Exit codes: 0 done, 1 problems found or refused, 2 wrong usage. No traceback reaches a person: what is wrong
with the input is printed one problem per line, a bug is printed as one line with the way to report it.
"""

from __future__ import annotations

import os
import sys
import traceback
from importlib import import_module

import typer

from peering.store.protocol import StoreError
from underlay.calico_option import with_calico_option
from underlay.output import Refused, errors, print_problems

_FAMILIES = (
    "declaring",
    "draining",
    "planning",
    "asking",
    "comparing",
    "pushing",
    "verifying",
    "processes",
    "reflecting",
    "inspecting",
    "ipam_commands",
    "reflector_view",
    "lab_commands",
    "web",
    "webhook",
)
#: Commands whose processes stay, and would keep in memory what the other commands need.
_ALONE = {"reflector": ("reflecting",), "web": ("web",)}


def command_line(command: str = "") -> typer.Typer:
    """All commands; for one that stands in `_ALONE` its own family and nothing else."""
    app = typer.Typer(
        name="underlay",
        help="Kubernetes pods with real addresses in the data-centre fabric: one declaration for both ends.",
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    app.callback()(lambda: None)  # a family of one command is a group nevertheless
    for family in _ALONE.get(command, _FAMILIES):
        import_module(f"underlay.{family}").register(app)
    with_calico_option(app)
    return app


def main() -> None:
    """The console script."""
    try:
        command_line("".join(sys.argv[1:2]))(standalone_mode=True)
    except Refused as refused:
        print_problems(refused.problems)
        if refused.message:
            errors.print(refused.message, markup=False)
        sys.exit(1)
    except StoreError as error:
        errors.print(f"error: {error}", markup=False)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:  # noqa: BLE001  the last line of defence: a person never sees a traceback
        if os.environ.get("UNDERLAY_DEBUG"):
            traceback.print_exc()
        errors.print(f"error: a bug in underlay: {type(error).__name__}: {error}", markup=False)
        errors.print("hint: run again with UNDERLAY_DEBUG=1 and report what it prints", markup=False)
        sys.exit(1)
