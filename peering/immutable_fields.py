"""Fields that keep the value that an object was created with: what a change of it must not touch.

An API server judges this by the CRDs' CEL; where there is none, whoever writes to the store asks here.
"""

from __future__ import annotations

from collections.abc import Iterator

from peering.problems import Problem
from peering.resource import Resource


def broken_changes(before: Resource | None, after: Resource) -> Iterator[Problem]:
    """What is wrong with putting `after` in the place of `before`; nothing when there was none."""
    if before is None:
        return
    for rule in after.spec.RULES:
        if rule.keeps is not None and not rule.keeps(before.spec, after.spec):
            hint = f"delete {after.ref} first, or declare another {after.kind}"
            yield Problem("error", "immutable-field", after.ref, f"spec.{rule.field}", rule.message, hint)
