"""`trivet audit` against a real service: what is exported verifies, and answers questions."""

from __future__ import annotations

import json
from pathlib import Path

from tests.unit.cli.outcome import Trivet


def _export(trivet: Trivet, tmp_path: Path, *arguments: str) -> Path:
    path = tmp_path / "audit.jsonl"
    path.write_text(trivet("audit", "export", *arguments).out)
    return path


def test_an_export_verifies_and_tells_which_entry_denied_a_serial(trivet: Trivet, tmp_path: Path) -> None:
    trivet("issue", "-p", "kubelet-client", "--node", "proved", "--directory", tmp_path, "--name", "proved")
    (held,) = trivet("certificates", "list", "--cn", "system:node:proved", "-o", "json").json
    path = _export(trivet, tmp_path)
    before = trivet("audit", "explain", path, "--serial", held["serialNumber"], "-o", "json").json
    assert (before["denied"], before["entries"]) == (False, [])
    trivet("revoke", "--common-name", "system:node:proved", "--name", "proof", "--yes")
    path = _export(trivet, tmp_path)
    report = trivet("audit", "verify", path, "-o", "json").json
    assert (report["isSound"], report["faults"]) == (True, [])
    assert "sound" in trivet("audit", "verify", path, "--known", report["checkpoint"]).out
    after = trivet("audit", "explain", path, "--serial", held["serialNumber"], "-o", "json").json
    assert after["denied"] is True
    assert [(one["kind"], one["revocation"], one["stands"]) for one in after["entries"]] == [
        ("CommonName", "kube-system/proof", True)
    ]
    earlier = trivet(
        "audit", "explain", path, "--serial", held["serialNumber"], "--at", held["issuedAt"], "-o", "json"
    ).json
    assert earlier["denied"] is False
    shown = trivet("audit", "explain", path, "--serial", held["serialNumber"]).out
    assert "Entries that named it:" in shown
    trivet("revocations", "delete", "proof", code=None)


def test_a_changed_export_ends_with_1_and_names_the_place(trivet: Trivet, tmp_path: Path) -> None:
    trivet("issue", "-p", "kubelet-client", "--node", "changed", "--directory", tmp_path, "--name", "changed")
    path = _export(trivet, tmp_path, "--cluster", "demo")
    path.write_text(path.read_text().replace("system:node:changed", "system:node:other"))
    report = trivet("audit", "verify", path, "-o", "json", code=1).json
    assert report["isSound"] is False
    assert any(fault["place"].startswith("chain ") for fault in report["faults"])
    assert "faults" in trivet("audit", "verify", path, code=1).out
    number = json.loads(path.read_text().splitlines()[-1])["checkpoint"]
    refused = trivet("audit", "explain", path, "--serial", "1", code=1)
    assert "proves nothing" in refused.err
    assert number > 0


def test_what_cannot_be_is_wrong_usage(trivet: Trivet, tmp_path: Path) -> None:
    path = _export(trivet, tmp_path)
    trivet("audit", "verify", path, "--known", "7", code=2)
    trivet("audit", "explain", path, "--serial", "x", code=2)
    trivet("audit", "explain", path, "--serial", "1", "--at", "yesterday", code=2)
    trivet("audit", "verify", tmp_path / "none.jsonl", code=7)
    trivet("audit", "verify", path, "--service-ca", path, code=7)
    trivet("audit", "export", "--cluster", "none", code=4)
