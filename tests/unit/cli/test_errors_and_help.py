from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from tests.unit.cli.outcome import Trivet
from tests.unit.pki.golden import check_golden

from trivet.bootstrap.initialise import Installation
from trivet.cli.exits import ExitCode, code_of, words_of
from trivet.cli.main import SERVER_PACKAGES, app
from trivet.cli.output import Format, printable, show_list, show_object
from trivet.client.errors import ProblemError
from trivet.web.problems import RENDERINGS

EXPECTED_CODES = {
    "unauthenticated": ExitCode.NOT_ALLOWED,
    "unauthorized": ExitCode.NOT_ALLOWED,
    "notFound": ExitCode.NOT_FOUND,
    "conflict": ExitCode.CONFLICT,
    "preconditionFailed": ExitCode.CONFLICT,
    "confirmationRequired": ExitCode.CONFLICT,
    "stageWaits": ExitCode.CONFLICT,
    "fieldConflict": ExitCode.CONFLICT,
    "idempotencyKeyReused": ExitCode.CONFLICT,
    "rateLimited": ExitCode.UNAVAILABLE,
    "unavailable": ExitCode.UNAVAILABLE,
}


@pytest.mark.parametrize("slug", RENDERINGS)
def test_every_problem_has_its_exit_code(slug: str) -> None:
    error = ProblemError(slug, "Title", RENDERINGS[slug].status, "why")
    assert code_of(error) == EXPECTED_CODES.get(slug, ExitCode.REFUSED)
    assert words_of(error).startswith(f"trivet: Title ({slug}): why")


def test_a_service_that_does_not_answer_is_unavailable(trivet: Trivet) -> None:
    refused = trivet("--url", "https://127.0.0.1:1", "cluster", "list", code=6)
    assert "https://127.0.0.1:1 cannot be reached" in refused.err


def test_a_certificate_of_another_authority_is_not_trusted(
    trivet: Trivet, tmp_path: Path, service: Installation
) -> None:
    other = tmp_path / "other.crt"
    other.write_text(trivet("cluster", "ca", "demo").out)
    refused = trivet("--ca-file", other, "cluster", "list", code=6)
    assert f"the certificate of {service.settings.url()} is not trusted by the CA in {other}" in refused.err


def test_without_settings_a_command_says_what_to_do(bare_trivet: Trivet) -> None:
    assert (
        "url is not set: put it in [client] of a settings file" in bare_trivet("cluster", "list", code=7).err
    )
    assert "database_url is not set" in bare_trivet("serve", code=7).err


def test_a_settings_file_that_is_wrong_is_named(bare_trivet: Trivet, tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    file.write_text("[client]\nurll = 'x'\n")
    refused = bare_trivet("--config", file, "cluster", "list", code=7)
    assert f"{file}: unknown key 'urll' in [client]; did you mean url?" in refused.err


def test_wrong_usage_says_how_to_get_help(bare_trivet: Trivet) -> None:
    assert "Try 'trivet cluster create --help' for help." in bare_trivet("cluster", "create", code=2).err
    assert "No such command" in bare_trivet("nonsense", code=2).err


def test_a_fault_of_our_own_is_told_without_a_traceback(
    bare_trivet: Trivet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("unheard \x1b[31mof")

    monkeypatch.setattr("trivet.cli.connection.find_settings_file", fail)
    refused = bare_trivet("cluster", "list", code=70)
    assert "a fault in Trivet itself: RuntimeError: unheard �[31mof" in refused.err


def test_the_doctor_finds_a_good_installation_good(trivet: Trivet) -> None:
    shown = trivet("doctor", "-o", "json").json
    states = {finding["subject"]: finding["state"] for finding in shown}
    assert states.pop("proof") in {"good", "skipped"}, "skipped until the first checkpoint was made"
    assert states.pop("CRLs") in {"good", "skipped"}, "skipped until the first one was published"
    assert states == {
        "settings": "good",
        "key-encryption key": "good",
        "database": "good",
        "clock": "skipped",
        "database latency": "good",
        "keys of authorities": "good",
        "service authority": "good",
        "disk": "good",
        "files": "good",
        "access token": "good",
        "service CA": "good",
        "service": "good",
        "access": "good",
    }
    assert "ready, with a trusted certificate until" in trivet("doctor").out


def test_the_doctor_tells_of_a_service_that_does_not_renew_its_certificate(
    trivet: Trivet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trivet.cli.diagnose._LAST_PART", 1)
    assert "and was not renewed at two thirds of its time" in trivet("doctor", code=1).out


def test_the_doctor_names_what_is_bad_with_its_remedy(
    trivet: Trivet, tmp_path: Path, service: Installation
) -> None:
    token = tmp_path / "my.token"
    token.write_text("trivet_" + "x" * 43)
    token.chmod(0o644)
    shown = trivet("--token-file", token, "doctor", code=1)
    assert f"chmod 600 {token}" in shown.out
    assert "bad     access: the access token is unknown" in shown.out
    missing = trivet("--ca-file", tmp_path / "missing", "--url", "https://127.0.0.1:1", "doctor", code=1).out
    assert "bad     service CA" in missing
    assert "bad     service: " in missing
    assert "→ start it with `trivet serve`" in missing
    assert str(service.layout.settings) in shown.out


def test_the_doctor_works_without_anything(bare_trivet: Trivet, tmp_path: Path) -> None:
    shown = bare_trivet("doctor", code=1).out
    assert "skipped server: no service is set up on this machine" in shown
    assert "bad     client settings: url is not set" in shown
    file = tmp_path / "x.toml"
    file.write_text("[nonsense]\n")
    assert "bad     settings: " in bare_trivet("--config", file, "doctor", code=1).out


def test_the_schema_is_shown_and_upgraded(trivet: Trivet) -> None:
    assert trivet("db", "current", "-o", "json").json["current"] == "0008"
    assert "schema 0008, as before" in trivet("db", "upgrade").err


def test_the_openapi_document_is_printed_the_same_each_time(bare_trivet: Trivet) -> None:
    first = bare_trivet("openapi")
    assert first.json["openapi"].startswith("3.1")
    assert bare_trivet("openapi").out == first.out


def test_the_version_is_shown(bare_trivet: Trivet) -> None:
    assert bare_trivet("--version").out.startswith("trivet 0.")


def test_a_table_is_aligned_and_shows_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    items: list[dict[str, object]] = [{"a": "x\x1b[2J", "b": None}, {"a": ["one", "two"], "b": True}]
    show_list(items, Format.TABLE, {"A": "a", "LONG NAME": "b"})
    assert capsys.readouterr().out == "A         LONG NAME\nx�[2J     -\none, two  yes\n"
    show_object({"a": 1, "b": ""}, Format.TABLE, {"First": "a", "Second one": "b"})
    assert capsys.readouterr().out == "First:       1\nSecond one:  -\n"
    assert printable("ü\n") == "ü�"


WITHOUT_SERVER = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in %r:
            raise ModuleNotFoundError(name=name)
sys.meta_path.insert(0, Blocked())
from trivet.cli.main import run
sys.argv = ["trivet", *sys.argv[1:]]
run()
"""


def base_install(*arguments: object) -> subprocess.CompletedProcess[str]:
    code = WITHOUT_SERVER % (set(SERVER_PACKAGES) | {"uvloop", "httptools", "psycopg"},)
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_base_install_works_as_a_client(service: Installation, tmp_path: Path) -> None:
    config = ["--config", service.layout.settings]
    assert base_install("--help").returncode == 0
    assert "demo" in base_install(*config, "cluster", "list").stdout
    files = ["-d", tmp_path, "--name", "x"]
    assert base_install(*config, "issue", "-p", "kubelet-client", "--node", "base", *files).returncode == 0
    for way in ([], ["--message"]):
        renewed = base_install(*config, "renew", "--certificate", tmp_path / "x.crt", *way)
        assert renewed.returncode == 0, renewed.stderr
    doctor = base_install(*config, "doctor")
    assert "skipped server: its packages are not installed" in doctor.stdout


@pytest.mark.parametrize("command", ["init", "serve", "openapi"])
def test_the_base_install_says_what_the_server_needs(
    service: Installation, tmp_path: Path, command: str
) -> None:
    extra = ["--directory", tmp_path / "new"] if command == "init" else []
    refused = base_install("--config", service.layout.settings, command, *extra)
    assert refused.returncode == ExitCode.LOCAL
    assert "pip install 'trivet[server]'" in refused.stderr
    assert "Traceback" not in refused.stderr


def commands(command: object, *path: str) -> Iterator[tuple[str, ...]]:
    yield path
    for name, below in getattr(command, "commands", {}).items():
        yield from commands(below, *path, name)


def test_the_help_of_every_command_is_as_agreed(bare_trivet: Trivet) -> None:
    pages = [bare_trivet(*path, "--help").out for path in commands(typer.main.get_command(app))]
    check_golden("tests/golden/cli-help.txt", "\n".join(pages))


def test_a_folder_that_cannot_be_written_is_a_local_problem(bare_trivet: Trivet, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused = bare_trivet("init", "--directory", "file/below", code=7)
    assert "file/below: Not a directory" in refused.err


def test_init_adds_names_to_the_usual_ones(bare_trivet: Trivet, tmp_path: Path) -> None:
    shown = bare_trivet("init", "--name", "ca.example.org", "--no-cluster")
    assert "trivet cluster create" in shown.out
    text = (tmp_path / ".trivet" / "trivet.toml").read_text()
    assert '"localhost", "127.0.0.1", "::1"' in text
    assert '"ca.example.org"]' in text
    again = bare_trivet("init", "--port", 1)
    assert "was set up before" in again.out
    assert "The settings file was there already and decides" in again.err


def test_a_first_cluster_needs_a_name_that_a_cluster_can_have(bare_trivet: Trivet, tmp_path: Path) -> None:
    assert "is not an RFC 1123 label" in bare_trivet("init", "--cluster", "Not A Name", code=2).err
    assert not (tmp_path / ".trivet").exists()
