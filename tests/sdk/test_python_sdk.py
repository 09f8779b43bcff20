from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from cryptography import x509
from tests.sdk import made
from tests.support.served import Served

pytestmark = [pytest.mark.slow]
HERE = Path(__file__).parent
UV = made.ROOT / ".venv/bin/uv"
ENVIRONMENT = made.ROOT / ".venv/sdk/bin"
# Other ways to send the same body, which the generator leaves out.
LEFT_OUT = {"application/jwt", "application/yaml"}


@pytest.fixture(scope="module")
def sdk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The SDK, freshly made."""
    return made.make("sdk-python", tmp_path_factory.mktemp("sdk"))


@pytest.fixture(scope="module")
def installed(sdk: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where the SDK was installed to, as pip does."""
    target = tmp_path_factory.mktemp("installed")
    options = ["--no-deps", "--no-build-isolation", "--offline", "--python", ENVIRONMENT / "python"]
    made.run([UV, "pip", "install", "--quiet", *options, "--target", target, sdk], target)
    return str(target)


def test_the_generator_leaves_no_operation_out(sdk: Path) -> None:
    log = re.sub(r"\s+", " ", (sdk.parent / "python.log").read_text())
    assert set(re.findall(r"Unsupported content type ([\w/+-]+)", log)) == LEFT_OUT
    assert "will not be generated" not in log
    assert "omitted" not in log
    document = json.loads((made.ROOT / "openapi/openapi.json").read_text())
    wanted = {
        re.sub(r"[A-Z]", lambda letter: "_" + letter[0].lower(), operation["operationId"])
        for item in document["paths"].values()
        for operation in item.values()
    }
    modules = {path.stem for path in (sdk / "trivet_client/api").rglob("*.py")} - {"__init__"}
    assert modules == wanted


def test_no_class_has_a_name_that_a_generator_made_up(sdk: Path) -> None:
    names = {path.stem for path in (sdk / "trivet_client/models").glob("*.py")}
    assert [name for name in names if re.search(r"_(item|type_\d|response_\d*|additional)", name)] == []
    document = json.loads((made.ROOT / "openapi/openapi.json").read_text())
    known = {name.lower() for name in document["components"]["schemas"]}
    unnamed = {name for name in names - {"__init__"} if name.replace("_", "") not in known}
    assert unnamed == {"audit_record_details", "certificate_request_extra", "request_condition_type"}


def test_mypy_knows_the_types_of_the_sdk(installed: str, tmp_path: Path) -> None:
    # Within the SDK mypy trips over a variable that the generator names as a class.
    options = ["--strict", "--follow-imports=silent", "--no-incremental"]
    command = [ENVIRONMENT / "mypy", *options, HERE / "smoke.py"]
    made.run(command, tmp_path, MYPYPATH=installed)
    wrong = tmp_path / "wrong.py"
    wrong.write_text((HERE / "smoke.py").read_text().replace('profile="kubelet-client"', 'profile="kubelet"'))
    with pytest.raises(AssertionError, match="kubelet"):
        made.run([*command[:-1], wrong], tmp_path, MYPYPATH=installed)


def test_the_python_sdk_issues_lists_renews_revokes_and_tells_problems(
    installed: str, served: Served, tmp_path: Path
) -> None:
    command = [ENVIRONMENT / "python", HERE / "smoke.py", served.url, served.folder, "smoke"]
    assert json.loads(made.run(command, tmp_path, PYTHONPATH=installed)) == made.EXPECTED


def test_the_script_of_the_page_issues_a_certificate(installed: str, served: Served) -> None:
    script = made.page_script("sdk-python.md", "python", served.port)
    (served.folder / "first.py").write_text(script)
    told = made.run([ENVIRONMENT / "python", "first.py"], served.folder, PYTHONPATH=installed)
    (certificate, ca) = x509.load_pem_x509_certificates((served.folder / "node-1.crt").read_bytes())
    certificate.verify_directly_issued_by(ca)
    assert told.startswith(f"{certificate.serial_number:x} until ")
    assert (served.folder / "node-1.key").stat().st_mode & 0o077 == 0
