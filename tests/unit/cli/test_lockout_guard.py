from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.cli.outcome import Trivet
from tests.unit.cli.running import installed, running

LOCKS_OUT = ["--dns", "kubernetes.default.svc", "--name", "r"]


@pytest.fixture
def guarded(bare_trivet: Trivet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Trivet]:
    """Give the command, and a service that refuses lock-outs unless the preview was read."""
    found = installed(tmp_path)
    monkeypatch.setenv("TRIVET_CONFIG", str(found.layout.settings))
    with running(found.settings.model_copy(update={"lockout_guard": "refuse"})):
        yield bare_trivet


def test_where_the_guard_refuses_a_lock_out_the_previews_token_lets_it_pass(guarded: Trivet) -> None:
    refused = guarded("revoke", *LOCKS_OUT, "--yes", code=5)
    assert "confirmationRequired" in refused.err
    assert "read `trivet revocations preview`, then repeat with --confirm" in refused.err
    preview = guarded("revocations", "preview", *LOCKS_OUT)
    assert (
        "Warning: the API server of the cluster demo could not renew: no apiserver certificate" in preview.err
    )
    guarded("revoke", "--group", "team", "--yes")
    stale = guarded("revoke", *LOCKS_OUT, "--confirm", preview.out.strip(), code=5)
    assert "is not that of this object's preview as things stand" in stale.err
    preview = guarded("revocations", "preview", *LOCKS_OUT)
    guarded("revoke", *LOCKS_OUT, "--confirm", preview.out.strip())


def test_whoever_says_yes_to_the_preview_has_confirmed(
    guarded: Trivet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trivet.cli.revoke.is_interactive", lambda: True)
    guarded("revoke", *LOCKS_OUT, stdin="y\n")
