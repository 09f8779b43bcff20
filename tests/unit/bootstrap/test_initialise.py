from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from unittest.mock import patch

import pytest
from cryptography import x509
from sqlalchemy import text

from trivet.authority.access import Role
from trivet.authority.authenticate import authenticate_token
from trivet.authority.context import Authority
from trivet.authority.install import OPERATOR, service_certificate
from trivet.authority.tokens import list_tokens
from trivet.bootstrap import clock, composition
from trivet.bootstrap.composition import build_authority, check_startable, opened
from trivet.bootstrap.diagnosis import diagnose_service
from trivet.bootstrap.errors import StartError
from trivet.bootstrap.findings import State
from trivet.bootstrap.initialise import Installation, initialise
from trivet.bootstrap.layout import Choices
from trivet.bootstrap.schema import schema_state, upgrade_schema
from trivet.settings import ClientSettings, ServerSettings, SettingsFile
from trivet.store import authorities, clusters
from trivet.store.migrate import downgrade

URL = "https://127.0.0.1:8443"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / ".trivet"


@pytest.fixture
def installation(folder: Path) -> Installation:
    return initialise(Choices(folder, URL, {}, "demo"))


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "trivet.db" not in path.name
    }


@contextmanager
def authority_of(settings: ServerSettings) -> Iterator[Authority]:
    authority = build_authority(settings)
    yield authority
    authority.database.dispose()


def set_schema(settings: ServerSettings, revision: str) -> None:
    with opened(settings) as database, database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision})


def refusal(settings: ServerSettings) -> str:
    with pytest.raises(StartError) as caught:
        check_startable(settings)
    return str(caught.value)


def test_an_installation_has_its_files_where_they_belong(folder: Path, installation: Installation) -> None:
    assert set(files(folder)) == {
        "trivet.toml",
        "keys/key-encryption.key",
        "client/admin.token",
        "client/service-ca.crt",
    }
    assert (folder / "data" / "trivet.db").is_file()
    key = folder / "keys" / "key-encryption.key"
    assert len(base64.b64decode(key.read_text())) == 32
    for private in (key, folder / "client" / "admin.token", folder / "trivet.toml"):
        assert private.stat().st_mode & 0o777 == 0o600
    for directory in ("data", "keys", "client"):
        assert (folder / directory).stat().st_mode & 0o777 == 0o700
    assert any("outside the data folder" in line for line in installation.made)


def test_an_installation_can_be_started_and_its_token_is_an_administrators(
    folder: Path, installation: Installation
) -> None:
    check_startable(installation.settings)
    secret = (folder / "client" / "admin.token").read_text().strip()
    trusted = x509.load_pem_x509_certificate((folder / "client" / "service-ca.crt").read_bytes())
    with authority_of(installation.settings) as authority:
        requester = authenticate_token(authority, secret)
        assert trusted == x509.load_der_x509_certificate(service_certificate(authority))
        with authority.database.read() as connection:
            demo = clusters.get(connection, "demo")
            generations = authorities.all_generations(connection, demo.id)
    assert (requester.role, requester.cluster_id) == (Role.ADMIN, None)
    assert sorted(generation.name for generation in generations) == ["cluster", "etcd", "front-proxy"]


def test_a_second_time_everything_is_found_and_nothing_is_changed(
    folder: Path, installation: Installation
) -> None:
    before = files(folder)
    again = initialise(Choices(folder, "https://elsewhere:1", {"port": 1}, "other"))
    assert (again.made, again.has_new_settings) == ([], False)
    assert files(folder) == before
    assert again.settings == installation.settings


def test_no_secret_is_in_what_is_told(folder: Path, installation: Installation) -> None:
    told = "\n".join(installation.made) + repr(installation)
    for secret in ("keys/key-encryption.key", "client/admin.token"):
        assert (folder / secret).read_text().strip() not in told


def test_choices_go_into_the_settings_file(folder: Path) -> None:
    server: dict[str, object] = {"host": "::", "port": 9443, "names": ["ca.example.org"]}
    found = initialise(Choices(folder, "https://[::1]:9443", server, None))
    assert (found.settings.host, found.settings.port) == ("::", 9443)
    assert found.settings.host_names() == ("ca.example.org",)
    client = ClientSettings.load(SettingsFile.read(folder / "trivet.toml"))
    assert (client.url, client.cluster) == ("https://[::1]:9443", None)
    assert not any("cluster demo" in line for line in found.made)


def test_the_whole_installation_can_be_moved(
    folder: Path, installation: Installation, tmp_path: Path
) -> None:
    del installation
    folder.rename(tmp_path / "moved")
    settings = ServerSettings.load(SettingsFile.read(tmp_path / "moved" / "trivet.toml"))
    check_startable(settings)


def test_without_its_key_the_database_is_refused_and_no_new_key_is_made(
    folder: Path, installation: Installation
) -> None:
    key = folder / "keys" / "key-encryption.key"
    key.unlink()
    with pytest.raises(StartError, match="is gone; put it back from your backup"):
        initialise(Choices(folder, URL, {}, "demo"))
    assert not key.exists()
    with pytest.raises(StartError, match=r"key-encryption\.key cannot be read: No such file"):
        build_authority(installation.settings)


def test_another_key_is_refused_at_start_and_by_init(folder: Path, installation: Installation) -> None:
    key = folder / "keys" / "key-encryption.key"
    key.write_text(base64.b64encode(bytes(32)).decode())
    assert "is not the one that this database was made with" in refusal(installation.settings)
    with pytest.raises(StartError, match="is not the one that this database was made with"):
        initialise(Choices(folder, URL, {}, "demo"))
    key.write_text("short")
    with pytest.raises(StartError, match=r"key-encryption\.key: the key-encryption key is not Base64"):
        build_authority(installation.settings)


def test_a_key_from_the_environment_needs_no_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIVET_KEY_ENCRYPTION_KEY", base64.b64encode(bytes(32)).decode())
    found = initialise(Choices(folder, URL, {}, "demo"))
    assert not (folder / "keys" / "key-encryption.key").exists()
    check_startable(found.settings)


def test_a_lost_token_file_is_made_anew_and_the_other_stays_good(
    folder: Path, installation: Installation
) -> None:
    token = folder / "client" / "admin.token"
    former = token.read_text().strip()
    token.unlink()
    again = initialise(Choices(folder, URL, {}, "demo"))
    assert again.made == [f"access token of an administrator: {token}"]
    authority = build_authority(installation.settings)
    assert (
        authenticate_token(authority, former).role
        == authenticate_token(authority, token.read_text().strip()).role
    )


def test_a_missing_database_is_refused_and_not_made(folder: Path, installation: Installation) -> None:
    database = folder / "data" / "trivet.db"
    database.rename(folder / "away")
    assert f"there is no database {database}; run `trivet init`" in refusal(installation.settings)
    with pytest.raises(StartError, match="run `trivet init`"):
        upgrade_schema(installation.settings)
    assert not database.exists()


def test_a_file_that_is_no_database_is_refused(folder: Path, installation: Installation) -> None:
    for stale in folder.glob("data/trivet.db*"):
        stale.unlink()
    (folder / "data" / "trivet.db").write_text(
        "this is not a database, and it is long enough to be looked at " * 20
    )
    assert "cannot be used: file is not a database" in refusal(installation.settings)


def test_an_older_schema_is_refused_until_it_is_upgraded(installation: Installation) -> None:
    settings = installation.settings
    set_schema(settings, "0000")
    assert "has schema 0000, this Trivet needs 0008; run `trivet db upgrade`" in refusal(settings)
    set_schema(settings, "0008")
    with opened(settings) as database:
        downgrade(database, "base")
    assert "the database is empty; run `trivet init`" in refusal(settings)
    assert upgrade_schema(settings) == (None, "0008")
    assert schema_state(settings)["current"] == "0008"
    assert "no installation yet; run `trivet init`" in refusal(settings)


def test_a_newer_schema_is_refused(folder: Path, installation: Installation) -> None:
    set_schema(installation.settings, "9999")
    assert "has schema 9999, made by a newer Trivet" in refusal(installation.settings)
    with pytest.raises(StartError, match="newer Trivet"):
        initialise(Choices(folder, URL, {}, "demo"))
    with pytest.raises(StartError, match="newer Trivet"):
        upgrade_schema(installation.settings)


def test_a_clock_before_the_service_authoritys_not_before_is_refused(installation: Installation) -> None:
    long_ago = clock.now() - timedelta(days=1)
    with patch.object(composition, "now", lambda: long_ago):
        assert "set the clock right" in refusal(installation.settings)


@pytest.mark.parametrize(
    ("url", "words", "is_unreachable"),
    [
        (
            "postgresql://u:very-secret@127.0.0.1:1/db",
            "postgresql://u:***@127.0.0.1:1/db cannot be used",
            True,
        ),
        ("mysql://h/db", "use sqlite:/// or postgresql://", False),
        ("no url", "database_url is wrong", False),
    ],
)
def test_a_database_that_cannot_be_used_is_told_without_its_password(
    installation: Installation, *, url: str, words: str, is_unreachable: bool
) -> None:
    settings = ServerSettings.load(
        None, database_url=url, key_encryption_key_file=installation.settings.key_encryption_key_file
    )
    with pytest.raises(StartError) as caught:
        check_startable(settings)
    assert words in str(caught.value)
    assert "very-secret" not in str(caught.value)
    assert caught.value.is_unreachable is is_unreachable


def test_postgresql_is_set_up_as_well(folder: Path, postgres_database: str) -> None:
    url = postgres_database.replace("postgresql+psycopg", "postgresql")
    found = initialise(Choices(folder, URL, {"database_url": url}, "demo"))
    check_startable(found.settings)
    assert not (folder / "data" / "trivet.db").exists()
    assert initialise(Choices(folder, URL, {}, "demo")).made == []


def test_the_diagnosis_of_a_good_installation_is_good(installation: Installation) -> None:
    states = {finding.subject: finding.state for finding in diagnose_service(installation.settings)}
    assert states["key-encryption key"] is states["database"] is states["files"] is State.GOOD
    assert states["proof"] is State.SKIPPED
    assert State.BAD not in states.values()


def test_the_diagnosis_names_what_is_bad_with_its_remedy(folder: Path, installation: Installation) -> None:
    key = folder / "keys" / "key-encryption.key"
    key.chmod(0o644)
    set_schema(installation.settings, "0000")
    found = {finding.subject: finding for finding in diagnose_service(installation.settings)}
    assert found["key-encryption key"].remedy == f"chmod 600 {key}"
    assert found["database"].remedy == "run `trivet db upgrade`"
    key.unlink()
    (only,) = diagnose_service(installation.settings)
    assert only.state is State.BAD


def test_a_token_file_that_another_database_knew_is_kept_and_told(
    folder: Path, installation: Installation
) -> None:
    token = folder / "client" / "admin.token"
    before = token.read_text()
    for stale in folder.glob("data/trivet.db*"):
        stale.unlink()
    again = initialise(Choices(folder, URL, {}, "demo"))
    assert token.read_text() == before
    (warning,) = again.warnings
    assert "move it away and run `trivet init` again" in warning
    assert before.strip() not in warning
    assert any("certificate of the service authority" in line for line in again.made)
    assert installation.warnings == []


def test_without_a_first_cluster_none_is_made_later_either(folder: Path) -> None:
    initialise(Choices(folder, URL, {}, None))
    assert initialise(Choices(folder, URL, {}, "demo")).made == []


def test_an_installation_can_be_made_without_a_token(folder: Path) -> None:
    found = initialise(Choices(folder, URL, {}, None, token=False))
    assert not found.layout.admin_token.exists()
    with authority_of(found.settings) as authority:
        assert not list_tokens(authority, OPERATOR, None, 10)
    again = initialise(Choices(folder, URL, {}, None))
    assert again.layout.admin_token.exists()
