"""One change of the declaration, from the snapshot that it is judged on to the store: all of it or nothing.

    snapshot ─► edit ─► plan before, plan after ─► refused, or written if nobody wrote since the snapshot
       ▲                                                                     │
       └───────────────────────────── Conflict ──────────────────────────────┘

What two people change at the same time is therefore judged together: whoever comes second is judged on what the
first one wrote. Errors that were there before stop nobody, since the way out of them is a change, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from peering.compile import Compiler
from peering.immutable_fields import broken_changes
from peering.plan_diff import SessionChange, compare
from peering.problems import Problem, errors
from peering.resource import Resource
from peering.resources.catalog import PLAN_KINDS
from peering.session_loss import Tally, loss_problem, tally
from peering.snapshot import Snapshot
from peering.store.protocol import Conflict, Store, Write
from peering.store.resources import load
from underlay.change_report import print_changes
from underlay.output import Refused, console, print_problems
from underlay.passwords import rekeyed

#: What a plan is made of, and so what must not change between judging and writing.
SNAPSHOT_KINDS = (*PLAN_KINDS, "Secret")
_ATTEMPTS = 20
_NOTHING = "nothing was changed"


@dataclass(frozen=True, slots=True)
class Guard:
    """What is refused: errors that come, and more than `max_loss` percent of the sessions going down."""

    max_loss: float
    force: bool = False


@dataclass(frozen=True, slots=True)
class Edit:
    """Resources that are put in, objects (kind, name) that are taken out, and a line about each."""

    put: tuple[Resource, ...] = ()
    removed: tuple[tuple[str, str], ...] = ()
    lines: tuple[str, ...] = ()

    def writes(self) -> list[Write]:
        gone = [Write(kind, name, None) for kind, name in self.removed]
        return gone + [Write(resource.kind, resource.name, resource.to_document()) for resource in self.put]

    def on(self, before: Snapshot) -> Snapshot:
        return before.with_changes(self.put, [f"{kind}/{name}" for kind, name in self.removed])


@dataclass(frozen=True, slots=True)
class Judgement:
    """What an edit does: to the sessions of each end, to how many sessions, and which problems it brings."""

    changes: tuple[SessionChange, ...]
    counted: Tally
    brought: tuple[Problem, ...]


async def change(
    store: Store, edit_of: Callable[[Snapshot], Edit], guard: Guard, *, dry_run: bool, verbose: bool
) -> None:
    """Makes the edit, unless it is refused, and tells what it does. Raises Refused."""
    for _ in range(_ATTEMPTS):
        resources, since, unreadable = await load(store, SNAPSHOT_KINDS)
        before = Snapshot(resources)
        edit = edit_of(before)
        judgement = judge(before, edit.on(before))
        problems = _check(judgement, guard, unreadable, verbose)
        try:
            # Written before a word is printed: a reader that hangs up (`| head`) must not stop it.
            if edit.writes() and not dry_run:
                await store.apply_all(edit.writes(), SNAPSHOT_KINDS, since)
        except Conflict:
            continue
        print_problems(problems)
        _tell(edit, judgement, dry_run, verbose)
        return
    raise Refused(message=f"error: others change the store all the time: try again\n{_NOTHING}")


def judge(before: Snapshot, after: Snapshot) -> Judgement:
    """Compiles both and compares. A problem is brought when it was not there with the same words before."""
    compiler = Compiler()
    old, new = compiler.plan(before), compiler.plan(after)
    changes = tuple(compare(old, new, rekeyed(before, after)))
    present = {_identity(problem) for problem in old.problems}
    brought = [problem for problem in new.problems if _identity(problem) not in present]
    for resource in after:
        brought += broken_changes(before.get(resource.kind, resource.name), resource)
    return Judgement(changes, tally(old, new, changes), tuple(brought))


def _check(judgement: Judgement, guard: Guard, unreadable: Sequence[Problem], verbose: bool) -> list[Problem]:
    """What to print of a change that may be made. Raises Refused with all that is wrong of one that may not.

    What happens to the sessions of a plan with errors is not listed.
    """
    problems = [*unreadable, *judgement.brought]
    loss = loss_problem(judgement.counted, guard.max_loss)
    if guard.force:
        return [*problems, replace(loss, severity="warning", hint="")] if loss else problems
    wrong = errors(judgement.brought)
    if loss is None and not wrong:
        return problems
    if not wrong:
        print_changes(judgement.changes, judgement.counted, verbose=verbose)
    raise Refused([*problems, loss] if loss else problems, _NOTHING)


def _tell(edit: Edit, judgement: Judgement, dry_run: bool, verbose: bool) -> None:
    print_changes(judgement.changes, judgement.counted, verbose=verbose)
    for line in edit.lines:
        console.print(f"{line}{' (dry run)' if dry_run and not line.endswith(' unchanged') else ''}", markup=False)


def _identity(problem: Problem) -> tuple[str, ...]:
    """Without the hint, which may name what else is declared."""
    return problem.severity, problem.code, problem.object, problem.path, problem.message
