"""What `trivet audit` shows."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import typer

from trivet.cli.output import Format, note, show_document, show_list, show_object
from trivet.pki.proof.lines import time_text

if TYPE_CHECKING:
    from trivet.pki.proof.entries import HistoricEntry
    from trivet.pki.proof.explain import Answer
    from trivet.pki.proof.verify import Report

_REPORT: Final = {
    "Verdict": "verdict",
    "Decisions": "decisions",
    "Changes": "changes",
    "Checkpoints": "checkpoints",
    "Last checkpoint": "checkpoint",
    "Made": "sealedUntil",
    "Not shown": "omitted",
    "Pruned": "pruned",
    "Restored": "restored",
}
_FAULTS: Final = {"LINE": "line", "PLACE": "place", "WHAT IS WRONG": "detail"}
_ANSWER: Final = {
    "Serial number": "serialNumber",
    "At": "at",
    "Denied": "denied",
    "Since": "deniedSince",
    "Issued": "issuedAt",
    "CN": "commonName",
    "Decision": "decision",
    "Place": "place",
}
_ENTRIES: Final = {
    "KIND": "kind",
    "VALUE": "value",
    "NOT BEFORE": "notBefore",
    "REVOCATION": "revocation",
    "ADDED": "addedAt",
    "BY": "addedBy",
    "STANDS": "stands",
    "ENTRY": "entry",
}
_REFUSALS: Final = {"REFUSED": "decidedAt", "ACTION": "action", "REASON": "reason", "DECISION": "decision"}


def show_report(report: Report, form: Format) -> None:
    """Show what verifying found."""
    number, sha256, made_at = report.checkpoint or (None, None, None)
    shown: dict[str, Any] = {
        "verdict": "sound" if report.is_sound else f"{report.faulty} faults",
        "isSound": report.is_sound,
        "decisions": report.decisions,
        "changes": report.changes,
        "checkpoints": report.checkpoints,
        "checkpoint": f"{number}:{sha256}" if number else None,
        "sealedUntil": made_at,
        "omitted": report.omitted,
        "pruned": report.pruned,
        "cluster": report.cluster,
        "restored": [f"{at}, from a backup of {made_at}" for at, made_at, _ in report.restores],
        "faults": [asdict(fault) for fault in report.faults],
    }
    if form is not Format.TABLE:
        show_document(shown, form)
        return
    show_object(shown, form, _REPORT)
    if report.faults:
        typer.echo()
        show_list(shown["faults"], form, _FAULTS)
        if report.faulty > len(report.faults):
            note(f"and {report.faulty - len(report.faults)} more")


def show_answer(answer: Answer, form: Format) -> None:
    """Show whether a serial number was denied, and by what."""
    decision = answer.decision
    shown: dict[str, Any] = {
        "serialNumber": answer.serial,
        "at": time_text(answer.at),
        "denied": answer.denied_since is not None,
        "deniedSince": time_text(answer.denied_since) if answer.denied_since else None,
        "issuedAt": decision["decidedAt"] if decision else None,
        "commonName": decision["identity"]["commonName"] if decision else None,
        "decision": decision["id"] if decision else None,
        "place": f"chain {decision['chain']}, position {decision['position']}" if decision else None,
        "entries": [_entry(entry, answer) for entry in answer.entries],
        "refusals": [
            {
                **{name: one[name] for name in ("decidedAt", "action", "reason", "detail")},
                "decision": one["id"],
            }
            for one in answer.refusals
        ],
    }
    if form is not Format.TABLE:
        show_document(shown, form)
        return
    show_object(shown, form, _ANSWER)
    if decision is None:
        note("no certificate of that serial number was issued in this export")
    for title, member, columns in (
        ("Entries that named it:", "entries", _ENTRIES),
        ("What was refused to its holder:", "refusals", _REFUSALS),
    ):
        if shown[member]:
            typer.echo()
            typer.echo(title)
            show_list(shown[member], form, columns)


def _entry(entry: HistoricEntry, answer: Answer) -> dict[str, Any]:
    return {
        "entry": entry.id,
        "revocation": entry.object_name,
        "scope": entry.scope,
        "kind": entry.entry.kind.value,
        "value": entry.entry.value,
        "notBefore": time_text(entry.entry.not_before) if entry.entry.not_before else None,
        "addedAt": time_text(entry.added.at),
        "addedBy": entry.added.by,
        "addedIn": f"chain 1, position {entry.added.position}",
        "removedAt": time_text(entry.removed.at) if entry.removed else None,
        "stands": entry.stood_at(answer.at),
    }
