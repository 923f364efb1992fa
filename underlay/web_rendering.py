"""Pages as HTML: templates that only print, every value escaped, a misspelt name an error (`StrictUndefined`)."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from underlay.reports import duration
from underlay.web_ipam import number
from underlay.web_view import Page, Summary


@dataclass(frozen=True, slots=True)
class Away:
    """The store does not answer: since when (Unix time), for how many seconds, and why."""

    since: float
    seconds: float
    reason: str


def html(page: Page, now: float, turn: int, summary: Summary | None, away: Away | None) -> str:
    """The whole document. `now` is Unix time, `turn` the number of the last change that is in it."""
    template = _environment().get_template(page.template)
    return template.render(title=page.title, now=now, turn=turn, summary=summary, away=away, **page.values)


def message(title: str, text: str) -> Page:
    """A page that says one sentence."""
    return Page("message.html.j2", title, {"text": text})


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("underlay", "web_pages"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=True,
    )
    environment.filters |= {"duration": duration, "amount": number, "px": _pixels, "moment": _moment}
    return environment


def _pixels(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _moment(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))
