from __future__ import annotations

import re
import stat
from pathlib import Path

import pytest
from tests.unit.cli.outcome import Trivet

from trivet.bootstrap.initialise import Installation


@pytest.fixture
def recipient(trivet: Trivet, tmp_path: Path) -> str:
    return trivet("backup-key", tmp_path / "backup.key").out.strip()


def test_a_backup_is_made_while_the_service_runs_and_restored_elsewhere(
    trivet: Trivet, tmp_path: Path, recipient: str, service: Installation
) -> None:
    file, key = tmp_path / "one.backup", tmp_path / "backup.key"
    made = trivet("backup", file, "--recipient", recipient, "-o", "json").json
    assert made["rows"] > 10
    assert stat.S_IMODE(file.stat().st_mode) == stat.S_IMODE(key.stat().st_mode) == 0o600
    assert sorted(tmp_path.iterdir()) == sorted({file, key, *tmp_path.glob("home*")})
    secret = service.layout.key_encryption_key.read_text().strip()
    assert secret.encode() not in file.read_bytes()

    checked = trivet("restore", file, "--identity-file", key, "--check", "-o", "json")
    assert checked.json["rows"] == made["rows"]
    target = f"sqlite:///{tmp_path}/elsewhere/trivet.db"
    restored = trivet("restore", file, "--identity-file", key, "--database-url", target)
    assert f"What was decided since {made['madeAt']} is not in this database" in restored.err
    for told in (
        r"which of the \d+ there are to be",
        "denied since wait again",
        "repair windows are closed",
        "have failed",
        "bootstrap tokens are removed",
    ):
        assert re.search(told, restored.err)
    state = trivet("db", "current", "--database-url", target, "-o", "json").json
    assert state["current"] == state["needed"]
    assert stat.S_IMODE((tmp_path / "elsewhere/trivet.db").stat().st_mode) == 0o600
    again = trivet("restore", file, "--identity-file", key, "--database-url", target, code=7)
    assert "holds tables already" in again.err


def test_a_backup_takes_no_other_files_place(trivet: Trivet, tmp_path: Path, recipient: str) -> None:
    file = tmp_path / "one.backup"
    file.write_text("precious")
    assert "left as it is" in trivet("backup", file, "--recipient", recipient, code=7).err
    assert file.read_text() == "precious"


def test_it_says_for_whom_a_backup_is_and_what_opens_it(
    trivet: Trivet, tmp_path: Path, recipient: str
) -> None:
    file = tmp_path / "one.backup"
    assert "give --recipient or --passphrase-file" in trivet("backup", file, code=2).err
    assert "not a recipient" in trivet("backup", file, "--recipient", "me", code=2).err
    short = tmp_path / "short"
    short.write_text("sesame")
    assert "less than 12 characters" in trivet("backup", file, "--passphrase-file", short, code=7).err
    assert not file.exists()
    trivet("backup", file, "--recipient", recipient)
    assert "give --identity-file or --passphrase-file" in trivet("restore", file, "--check", code=2).err
    other = tmp_path / "other.key"
    trivet("backup-key", other)
    assert "is not the right one" in trivet("restore", file, "--identity-file", other, "--check", code=7).err
    assert "is there already" in trivet("backup-key", other, code=7).err


def test_a_passphrase_opens_what_it_closed_and_a_damaged_file_is_refused(
    trivet: Trivet, tmp_path: Path
) -> None:
    file, words = tmp_path / "one.backup", tmp_path / "words"
    words.write_text("correct horse battery staple\n")
    trivet("backup", file, "--passphrase-file", words)
    assert "it can be restored" in trivet("restore", file, "--passphrase-file", words, "--check").err
    octets = bytearray(file.read_bytes())
    octets[-100] ^= 1
    file.write_bytes(octets)
    target = f"sqlite:///{tmp_path}/elsewhere/trivet.db"
    refused = trivet("restore", file, "--passphrase-file", words, "--database-url", target, code=7)
    assert "does not authenticate" in refused.err
    assert not list((tmp_path / "elsewhere").glob("*"))
    file.write_text("no backup")
    refused = trivet("restore", file, "--passphrase-file", words, "--check", code=7)
    assert "it is not a file that was encrypted by Trivet or age" in refused.err
