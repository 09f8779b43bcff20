"""`trivet repair-node`: repairs the node that it runs on, where no agent does."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from trivet.bootstrap.clock import now
from trivet.bootstrap.files import read_secret
from trivet.cli.connection import client_settings
from trivet.cli.exits import CommandError, ExitCode
from trivet.cli.files import explained
from trivet.cli.output import Format, Output, note, printable, show_list
from trivet.cli.plan import PlanFile, Root, read_plan
from trivet.cli.provision import run_hooks
from trivet.cli.spans import parse_seconds
from trivet.pki.repair import stage_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from trivet.agent.files import KeyPair
    from trivet.agent.loop import Answer, Held
    from trivet.agent.plan import CertificatePlan, PlannedCertificate
    from trivet.agent.plan.model import Hook
    from trivet.agent.repairing import Repaired
    from trivet.pki.profiles import AuthorityName

    Renew = Callable[[PlannedCertificate], tuple[Answer, Held | None]]

_WAIT: Final = 600
_COLUMNS: Final = {
    "CERTIFICATE": "name",
    "STAGE": "stage",
    "RESULT": "result",
    "EXPIRES": "notAfter",
    "WHY": "why",
}


def repair_node(
    context: typer.Context,
    plan: PlanFile,
    root: Root = Path("/"),
    *,
    repair_token: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Holds a one-time token (trivet repair token CLUSTER NODE); - for stdin.",
        ),
    ] = None,
    message: Annotated[
        bool, typer.Option("--message", help="By signed messages: for where a proxy ends TLS.")
    ] = False,
    wait: Annotated[
        int | None,
        typer.Option(
            parser=parse_seconds,
            metavar="SPAN",
            help="How long to wait for stages whose turn has not come [10m].",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be renewed.")] = False,
    hooks: Annotated[
        bool | None, typer.Option(help="Run the hooks of what is renewed; without --root they run.")
    ] = None,
    output: Output = Format.TABLE,
) -> None:
    """Renew everything that this node's plan lists, once: for a machine on which no agent runs.

    By the keys that are in place, expired certificates within an open repair window (trivet repair NAME); or, where
    they were revoked or are gone, by a one-time token. Ends with 0 once everything is renewed.
    """
    wanted = read_plan(plan)
    if dry_run:
        _show_order(wanted, root, output)
        return
    node = _Node(context, wanted, root, by_message=message)
    node.mend()
    done = list(node.repaired(repair_token, _WAIT if wait is None else wait))
    node.refresh_trust()
    show_list([_row(one) for one in done], output, _COLUMNS)
    runs_hooks = root == Path("/") if hooks is None else hooks
    _end(done, node.run_hooks(done) if runs_hooks else 0)


class _Node:
    """The node that this runs on."""

    def __init__(
        self, context: typer.Context, plan: CertificatePlan, root: Path, *, by_message: bool
    ) -> None:
        from trivet.agent.files import Disk, NodeFiles
        from trivet.agent.markers import Markers
        from trivet.agent.service import Service
        from trivet.client import Endpoint

        settings, disk = client_settings(context), Disk()
        self.plan, self.files, self.markers = plan, NodeFiles(root, disk), Markers(disk, root)
        self.endpoint = Endpoint(settings.url, settings.ca_file)
        self.service = Service(self.endpoint, plan.cluster, now, by_message)

    def mend(self) -> None:
        """Mend what a crash left."""
        from trivet.agent.files import FileFaultError

        try:
            with self.files.lock():
                for words in self.files.recover(self.plan):
                    note(words)
        except FileFaultError as fault:
            raise CommandError(str(fault)) from fault

    def repaired(self, repair_token: Path | None, wait: float) -> Iterator[Repaired]:
        from trivet.agent.renewing import Renewing
        from trivet.agent.repairing import Patience, repair

        patience = Patience(wait, time.sleep, lambda words: note(printable(words)))
        with ExitStack() as stack:
            if repair_token is not None:
                renew = self._by_token(stack, repair_token)
            else:
                renew = Renewing(
                    self.files, self.plan, self.service, self.markers, now, self.refresh_trust, {}
                ).renew
            for one in repair(self.plan, renew, patience):
                note(f"{one.result.value}: {one.planned.name}")
                yield one

    def _by_token(self, stack: ExitStack, path: Path) -> Renew:
        from trivet.agent.asking import ByToken
        from trivet.agent.repairing import ByOneTimeToken
        from trivet.client import Client

        with explained(path, "read"):
            secret = sys.stdin.read().strip() if str(path) == "-" else read_secret(path)
        trivet = stack.enter_context(Client(replace(self.endpoint, token=secret)))
        source = ByToken(trivet, self.plan)
        return ByOneTimeToken(
            self.files, self.plan, source, self.markers, self._is_fresh, self.refresh_trust
        ).renew

    def _is_fresh(self, pair: KeyPair) -> bool:
        suggestion = self.service.suggestion(pair.certificate)
        return suggestion is not None and suggestion.window.not_after > now()

    def refresh_trust(self) -> None:
        """Bring the trust bundles up to date, and kubeconfigs with them, if a certificate vouches for this node."""
        from trivet.agent.trust import refresh
        from trivet.client.errors import ClientError

        def given(authority: AuthorityName) -> bytes | None:
            return self.service.bundle(authority, voucher) if voucher is not None else None

        try:
            voucher = self._voucher()
            for changed in refresh(self.files, self.plan, given, now()):
                note(f"{changed.name}: {changed.fault or 'holds the new trust bundle'}")
        except ClientError as error:
            note(f"the trust bundles could not be fetched: {printable(str(error))}")

    def _voucher(self) -> KeyPair | None:
        from trivet.agent.files import FileFaultError
        from trivet.pki.validity import validity_of

        for planned in self.plan.certificates:
            try:
                pair = self.files.read(planned)
            except FileFaultError:
                continue
            if pair is not None and validity_of(pair.certificate).contains(now()) and self._is_fresh(pair):
                return pair
        return None

    def run_hooks(self, done: Sequence[Repaired]) -> int:
        """Run what is to be run after all that, each once; returns how many failed."""
        left: dict[Hook, str] = {}
        for one in done:
            if one.held is not None and one.planned.hook is not None:
                left.setdefault(one.planned.hook, one.planned.name)
        failed = run_hooks(left)
        for one in done:
            self.markers.remove(one.planned.name)
        return failed


def _show_order(plan: CertificatePlan, root: Path, output: Format) -> None:
    from trivet.agent.files import NodeFiles
    from trivet.agent.inspection import bundles_on_disk, examine
    from trivet.agent.repairing import in_order

    files = NodeFiles(root)
    bundles = bundles_on_disk(files, plan)
    rows = []
    for planned in in_order(plan):
        found = examine(files, planned, now(), bundles)
        stage = stage_of(planned.profile).value
        rows.append({"name": planned.name, "stage": stage, "state": found.state.value, "why": found.reason})
    show_list(rows, output, {"CERTIFICATE": "name", "STAGE": "stage", "STATE": "state", "WHY": "why"})
    note("in this order; nothing was touched")


def _row(one: Repaired) -> dict[str, object]:
    ends = one.held.validity.not_after if one.held is not None else None
    return {
        "name": one.planned.name,
        "profile": one.planned.profile.name,
        "stage": stage_of(one.planned.profile).value,
        "result": one.result.value,
        "serialNumber": one.held.serial if one.held is not None else None,
        "notAfter": f"{ends:%Y-%m-%dT%H:%M:%SZ}" if ends is not None else None,
        "why": one.answer.reason or None,
    }


def _end(done: Sequence[Repaired], failed_hooks: int) -> None:
    from trivet.agent.loop import AnswerKind

    failed = [one for one in done if one.held is None]
    if failed:
        is_away = any(one.answer.kind in {AnswerKind.UNREACHABLE, AnswerKind.BUSY} for one in failed)
        message = (
            f"{len(failed)} of {len(done)} could not be renewed; run it again when what bars the way is gone"
        )
        raise CommandError(message, ExitCode.UNAVAILABLE if is_away else ExitCode.REFUSED)
    if failed_hooks:
        message = f"everything is renewed, but {failed_hooks} hooks failed"
        raise CommandError(message, ExitCode.REFUSED)
    note(f"all {len(done)} certificates are renewed")
