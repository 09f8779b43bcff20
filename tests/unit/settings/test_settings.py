from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from trivet.settings import ClientSettings, ServerSettings, SettingsError, SettingsFile, find_settings_file
from trivet.settings.server import base_url, usual_publication

MINIMAL = '[server]\ndatabase_url = "sqlite:///data/trivet.db"\nkey_encryption_key_file = "keys/kek"\n'


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.chdir(tmp_path)


def written(path: Path, text: str) -> SettingsFile:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return SettingsFile.read(path)


def test_a_flag_is_stronger_than_the_environment_and_that_than_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(tmp_path / "trivet.toml", MINIMAL + "port = 1\nworkers = 2\nburst = 3\n")
    monkeypatch.setenv("TRIVET_PORT", "10")
    monkeypatch.setenv("TRIVET_WORKERS", "20")
    settings = ServerSettings.load(file, port=100, workers=None)
    assert (settings.port, settings.workers, settings.burst) == (100, 20, 3)


def test_an_empty_environment_variable_counts_as_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIVET_PORT", "")
    assert ServerSettings.load(written(tmp_path / "trivet.toml", MINIMAL)).port == 8443


def test_relative_paths_start_from_the_file(tmp_path: Path) -> None:
    settings = ServerSettings.load(written(tmp_path / "etc" / "trivet.toml", MINIMAL))
    assert settings.key_encryption_key_file == tmp_path / "etc" / "keys" / "kek"
    assert settings.database_url.get_secret_value() == f"sqlite:///{tmp_path}/etc/data/trivet.db"


@pytest.mark.parametrize(
    "url", ["sqlite:////var/lib/trivet.db", "sqlite:///:memory:", "postgresql://u:p@h/db"]
)
def test_other_database_urls_stay_as_they_are(tmp_path: Path, url: str) -> None:
    settings = ServerSettings.load(written(tmp_path / "trivet.toml", f'[server]\ndatabase_url = "{url}"\n'))
    assert settings.database_url.get_secret_value() == url


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "[server]\ndatabse_url = 'x'\n",
            "unknown key 'databse_url' in [server]; did you mean database_url?",
        ),
        ("[server]\nzzz = 1\n", "unknown key 'zzz' in [server]; known are authorize_fresh_seconds, "),
        ("[sever]\nport = 1\n", "unknown key 'sever'; settings stand in the tables [server] and [client]"),
        ("port = 1\n", "unknown key 'port'"),
        ("[server]\nkey_encryption_key = 'x'\n", "is a secret, which this file may not hold"),
        ("[server\n", "is not TOML"),
    ],
)
def test_a_file_with_anything_else_is_refused_by_name_and_key(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "trivet.toml"
    with pytest.raises(SettingsError) as caught:
        ServerSettings.load(written(path, text))
    assert str(path) in str(caught.value)
    assert words in str(caught.value)


def test_a_wrong_value_is_named_by_where_it_came_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(tmp_path / "trivet.toml", MINIMAL + 'lockout_guard = "maybe"\n')
    monkeypatch.setenv("TRIVET_PORT", "99999")
    with pytest.raises(SettingsError) as caught:
        ServerSettings.load(file, workers=0)
    text = str(caught.value)
    assert f"{file.path}: [server] lockout_guard: " in text
    assert "TRIVET_PORT: " in text
    assert "--workers: " in text


def test_what_is_missing_is_named_with_the_places_where_it_can_be_set() -> None:
    with pytest.raises(SettingsError, match=r"database_url is not set: .*TRIVET_DATABASE_URL"):
        ServerSettings.load(None)


def test_names_are_a_list_in_the_file_and_comma_separated_in_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(tmp_path / "trivet.toml", MINIMAL + 'names = ["ca.Example.org", "::1"]\n')
    assert ServerSettings.load(file).host_names() == ("ca.example.org", "::1")
    monkeypatch.setenv("TRIVET_NAMES", "a.example, 192.0.2.1")
    assert ServerSettings.load(file).host_names() == ("a.example", "192.0.2.1")
    with pytest.raises(SettingsError, match="--names"):
        ServerSettings.load(file, names=["not a name"])


def test_without_names_the_certificate_has_the_usual_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "under_score")
    file = written(tmp_path / "trivet.toml", MINIMAL)
    assert ServerSettings.load(file).host_names() == ("localhost", "127.0.0.1", "::1")
    monkeypatch.setattr("socket.gethostname", lambda: "ca-1")
    names = ServerSettings.load(file, host="192.0.2.7").host_names()
    assert names == ("localhost", "127.0.0.1", "::1", "ca-1", "192.0.2.7")
    assert "::" not in ServerSettings.load(file, host="::").host_names()


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("::1", "https://[::1]:8443"),
        ("::", "https://[::1]:8443"),
        ("ca.example", "https://ca.example:8443"),
    ],
)
def test_the_url_is_one_that_a_client_on_this_machine_can_use(tmp_path: Path, host: str, url: str) -> None:
    assert ServerSettings.load(written(tmp_path / "trivet.toml", MINIMAL), host=host).url() == url


def test_a_stronger_layer_silences_the_other_form_of_a_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = written(tmp_path / "trivet.toml", MINIMAL)
    monkeypatch.setenv("TRIVET_KEY_ENCRYPTION_KEY", "from-environment")
    settings = ServerSettings.load(server)
    assert settings.key_encryption_key_file is None
    client = written(tmp_path / "client.toml", '[client]\nurl = "https://h"\ntoken = "from-file"\n')
    assert ClientSettings.load(client, token_file=tmp_path / "t").token is None
    assert ClientSettings.load(client, certificate_file=tmp_path / "c").token is None


def test_secrets_show_in_no_repr_but_travel_to_worker_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIVET_KEY_ENCRYPTION_KEY", "very-secret")
    monkeypatch.setenv("TRIVET_DATABASE_URL", "postgresql://u:very-secret@h/db")
    file = written(tmp_path / "trivet.toml", '[client]\nurl = "https://h"\ntoken = "very-secret"\n')
    server, client = ServerSettings.load(file), ClientSettings.load(file)
    assert "very-secret" not in repr((server, client, file)) + str((server, client))
    assert pickle.loads(pickle.dumps(server)) == server  # noqa: S301


def test_the_file_is_found_in_the_usual_places_in_order(tmp_path: Path) -> None:
    assert find_settings_file() is None
    home = tmp_path / "home" / ".config" / "trivet" / "trivet.toml"
    written(home, "[client]\n")
    found = find_settings_file()
    assert found is not None
    assert found.path == home
    here = tmp_path / ".trivet" / "trivet.toml"
    written(here, "[client]\n")
    found = find_settings_file()
    assert found is not None
    assert found.path.resolve() == here


def test_a_named_file_is_taken_and_must_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path / ".trivet" / "trivet.toml", "[client]\n")
    monkeypatch.setenv("TRIVET_CONFIG", str(tmp_path / "missing.toml"))
    with pytest.raises(SettingsError, match=r"missing\.toml cannot be read: No such file"):
        find_settings_file()
    other = written(tmp_path / "other.toml", "[client]\n")
    found = find_settings_file(other.path)
    assert found is not None
    assert found.path == other.path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://pki.example.org", "http://pki.example.org"),
        (" https://pki.example.org:8480/trivet/ ", "https://pki.example.org:8480/trivet"),
        ("http://[2001:db8::1]:80", "http://[2001:db8::1]:80"),
    ],
)
def test_a_base_url_is_one_that_paths_can_be_put_behind(text: str, expected: str) -> None:
    assert base_url(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "pki.example.org",
        "ftp://pki.example.org",
        "http://",
        "http://a?b",
        "http://a#b",
        "http://a:b@c",
        "http://a b",
        "http://é.example",
        "http://a:99999",
        "http://a:x",
        "http://-",
        "http://a/" + "b" * 200,
    ],
)
def test_what_no_path_can_be_put_behind_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        base_url(text)


def test_only_a_service_on_a_loopback_address_publishes_crls_unasked() -> None:
    assert usual_publication("127.0.0.1", 8443) == {
        "http_port": 8480,
        "pki_base_url": "http://127.0.0.1:8480",
    }
    assert usual_publication("::1", 8443, 9000) == {"http_port": 9000, "pki_base_url": "http://[::1]:9000"}
    for given in (("0.0.0.0", 8443), ("192.0.2.7", 8443), ("127.0.0.1", 9443), ("127.0.0.1", 8443, 0)):  # noqa: S104
        assert usual_publication(*given) == {}
