"""A switch's plan printed in its platform's words: checks first, then templates that only print.

The same plan gives the same bytes. Passwords come in by their own argument and are placeholders without it,
so that plans, diffs and logs hold none. Templates see one name, `view`, and a misspelt field of it is an
error (`StrictUndefined`), not an empty string in a switch.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, TemplateError

from fabric_templates import devices, features, values
from fabric_templates.devices import Device, DeviceFile
from fabric_templates.documents import document, quoted
from fabric_templates.ranges import asking, named
from fabric_templates.shapes import View
from fabric_templates.view import view
from peering.problems import Problem, errors, ordered
from peering.session import SecretKeyRef, SwitchPlan

Passwords = Mapping[SecretKeyRef, str]

#: What a template that is wrong raises: jinja2's own errors, and those of the expressions in it.
_BROKEN = (TemplateError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


class RenderRefused(Exception):
    """The plan cannot be said on its platform. `problems` holds every reason, errors only."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(problem.line() for problem in problems))
        self.problems = problems


def check(name: str, plan: SwitchPlan, *, passwords: Passwords | None = None) -> tuple[Problem, ...]:
    """Everything that refuses or qualifies the rendering of `Switch/NAME`, warnings included; empty is good.

    With `passwords` they are checked too: each one there, and printable.
    """
    where = f"Switch/{name}"
    device = devices.find(plan.platform, where)
    if isinstance(device, Problem):
        return (device,)
    bad_values = values.check(where, name, plan, device, passwords)
    return ordered([*bad_values, *features.check(where, named(plan), device)])


def render(name: str, plan: SwitchPlan, *, passwords: Passwords | None = None) -> dict[str, str]:
    """{file name: text} of the switch. Raises RenderRefused where `check` finds an error; warnings pass.

    Without `passwords` each password is printed as `<secret:NAME/KEY>`.
    """
    refused = errors(check(name, plan, passwords=passwords))
    if refused:
        raise RenderRefused(refused)
    device = _device(plan)
    shown = view(name, named(plan), device, passwords)
    printed: dict[str, str] = {}
    broken: list[Problem] = []
    for file in device.files:
        try:
            printed[file.name] = _printed(file, shown)
        except _BROKEN as error:
            broken.append(_template_error(f"Switch/{name}", file, error))
    if broken:
        raise RenderRefused(tuple(broken))
    return printed


def _printed(file: DeviceFile, shown: View) -> str:
    text = _environment().get_template(file.template).render(view=shown)
    return text if file.format == "text" else document(text, file.format)


def _template_error(where: str, file: DeviceFile, error: Exception) -> Problem:
    message = f"template {file.template}: {error}"
    hint = "this is a mistake of the template, not of the declaration"
    return Problem("error", "template-error", where, file.name, message, hint)


def secret_files(plan: SwitchPlan) -> frozenset[str]:
    """The names among `render`'s files that hold real passwords when `passwords` are given."""
    if not any(session.password for session in asking(plan)):
        return frozenset()
    return frozenset(f.name for f in _device(plan).files if f.secrets)


def _device(plan: SwitchPlan) -> Device:
    device = devices.find(plan.platform, "Switch")
    if isinstance(device, Problem):
        raise RenderRefused((device,))
    return device


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("fabric_templates", "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.filters["quoted"] = quoted
    return environment
