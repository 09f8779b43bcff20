"""`trivet provision`: makes everything that a plan lists."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from trivet.bootstrap.clock import now
from trivet.cli.connection import connect
from trivet.cli.exits import CommandError, ExitCode, code_of
from trivet.cli.joining import Joining
from trivet.cli.output import Format, Output, note, printable, show_document, show_list
from trivet.cli.plan import PlanFile, Root, read_plan
from trivet.cli.spans import parse_seconds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trivet.agent.plan.model import Hook
    from trivet.agent.steps import Outcome, Step

_WAIT: Final = 60
_COLUMNS: Final = {"KIND": "kind", "NAME": "name", "FILE": "path", "RESULT": "result", "WHY": "why"}
_DONE: Final = {
    "make": "made",
    "replace": "replaced",
    "change": "changed",
    "keep": "kept",
    "refuse": "refused",
}


def provision(
    context: typer.Context,
    plan: PlanFile,
    root: Root = Path("/"),
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be done.")] = False,
    hooks: Annotated[
        bool | None,
        typer.Option(help="Run the hooks of what is replaced or changed; without --root they run."),
    ] = None,
    bootstrap_token: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="For a new node, in place of an access token: its bootstrap token."
        ),
    ] = None,
    wait: Annotated[
        int | None,
        typer.Option(
            parser=parse_seconds, metavar="SPAN", help="With it: how long to wait for an approver [1m]."
        ),
    ] = None,
    output: Output = Format.TABLE,
) -> None:
    """Make everything that a plan lists: keys, certificates, kubeconfigs, trust bundles.

    What is there and good stays; a second run finds nothing to do, and one that was cut off is continued by the next.
    Certificates are asked for with the access token of the settings (role issuer); or, on a new worker, by a
    bootstrap token the node's client certificate, and by that the serving certificate.
    """
    from trivet.agent.files import FileFaultError, NodeFiles
    from trivet.agent.provisioning import Provisioning
    from trivet.agent.steps import carry_out, hooks_left

    wanted, files = read_plan(plan), NodeFiles(root)
    try:
        with ExitStack() as stack:
            if not dry_run:
                stack.enter_context(files.lock())
                for words in files.recover(wanted):
                    note(words)
            if bootstrap_token is None:
                trivet = stack.enter_context(connect(context))
                provisioning = Provisioning.by_token(trivet, wanted, files, now)
            else:
                joining = Joining(context, wanted, files, _WAIT if wait is None else wait)
                provisioning = joining.provisioning(stack, bootstrap_token, dry_run=dry_run)
            steps = provisioning.steps()
            if dry_run:
                _show_steps(steps, output)
                return
            outcomes = list(carry_out(steps))
    except FileFaultError as fault:
        raise CommandError(str(fault)) from fault
    _show(outcomes, output)
    runs_hooks = root == Path("/") if hooks is None else hooks
    failed = run_hooks(hooks_left(outcomes)) if runs_hooks else 0
    _end(outcomes, failed)


def _show_steps(steps: Sequence[Step], output: Format) -> None:
    rows = [_row(step, step.action.value, step.reason) for step in steps]
    _show_rows(rows, "keep", output)
    refused = sum(row["result"] == "refuse" for row in rows)
    doing = sum(row["result"] not in {"keep", "refuse"} for row in rows)
    if refused:
        message = f"{refused} of {len(rows)} cannot be done; {doing} would be; nothing was touched"
        raise CommandError(message)
    note(f"{doing} of {len(rows)} would be done; nothing was touched" if doing else _nothing(rows))


def _show(outcomes: Sequence[Outcome], output: Format) -> None:
    rows = []
    for outcome in outcomes:
        step = outcome.step
        result = "failed" if outcome.error is not None else _DONE[step.action]
        rows.append(_row(step, result, outcome.fault or step.reason))
    _show_rows(rows, "kept", output)


def _row(step: Step, result: str, why: str) -> dict[str, str]:
    return {"kind": step.kind, "name": step.name, "path": step.path, "result": result, "why": printable(why)}


def _show_rows(rows: Sequence[dict[str, str]], kept: str, output: Format) -> None:
    if output is not Format.TABLE:
        show_document(list(rows), output)
        return
    changed = [row for row in rows if row["result"] != kept]
    if changed:
        show_list(changed, output, _COLUMNS)


def _nothing(rows: Sequence[object]) -> str:
    return f"nothing to do: all {len(rows)} are as the plan says"


def run_hooks(left: Mapping[Hook, str]) -> int:
    """Run hooks, and say how each fared; returns how many failed."""
    from trivet.agent.hooks import run_hook

    failed = 0
    for hook, name in left.items():
        result = run_hook(hook)
        failed += not result.succeeded
        note(f"the hook of {name} {'ran' if result.succeeded else f'failed: {result.reason}'}")
        if result.output and not result.succeeded:
            note(result.output)
    return failed


def _end(outcomes: Sequence[Outcome], failed_hooks: int) -> None:
    faults = [outcome for outcome in outcomes if outcome.fault is not None]
    done = sum(outcome.is_done for outcome in outcomes)
    if faults:
        error = next((outcome.error for outcome in faults if outcome.error is not None), None)
        code = ExitCode.LOCAL if error is None else code_of(error)
        message = f"{len(faults)} of {len(outcomes)} could not be made; mend that and run it again"
        raise CommandError(message, code)
    if failed_hooks:
        message = f"everything is in place, but {failed_hooks} hooks failed"
        raise CommandError(message, ExitCode.REFUSED)
    note(f"{done} of {len(outcomes)} done" if done else _nothing(outcomes))
