from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from tests.sdk import made
from tests.support.served import Served

pytestmark = [pytest.mark.slow]
HERE = Path(__file__).parent
STRICT = ("--module", "nodenext", "--target", "es2022", "--strict", "--skipLibCheck")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, require_tool: Callable[[str], str]) -> Path:
    """A project in which the SDK, freshly made, is installed with the compiler that made it."""
    for tool in ("node", "npm", "openssl"):
        require_tool(tool)
    folder = tmp_path_factory.mktemp("project")
    sdk = made.make("sdk-typescript", folder / "sdk")
    modules = folder / "node_modules"
    (modules / "@types").mkdir(parents=True)
    # As `npm install ./sdk/typescript` does; that would also ask the registry.
    (modules / "trivet-client").symlink_to(sdk)
    for name in ("typescript", "@types/node", "undici-types"):
        (modules / name).symlink_to(sdk / "node_modules" / name)
    return folder


def _compile(project: Path, script: str) -> Path:
    made.run(["node", "node_modules/typescript/bin/tsc", *STRICT, script], project)
    return project / script.replace(".mts", ".mjs")


def test_the_typescript_sdk_issues_lists_renews_revokes_and_tells_problems(
    project: Path, served: Served
) -> None:
    (project / "smoke.mts").write_text((HERE / "smoke.mts").read_text())
    compiled = _compile(project, "smoke.mts")
    told = made.run(["node", compiled, served.url, served.folder, "smoke"], project)
    assert json.loads(told) == made.EXPECTED


def test_the_script_of_the_page_issues_a_certificate(project: Path, served: Served) -> None:
    (project / "first.mts").write_text(made.page_script("sdk-typescript.md", "typescript", served.port))
    compiled = _compile(project, "first.mts")
    (project / ".trivet").symlink_to(served.folder / ".trivet")
    told = made.run(["node", compiled.name], project)
    (certificate, ca) = x509.load_pem_x509_certificates((project / "node-2.crt").read_bytes())
    certificate.verify_directly_issued_by(ca)
    assert told.startswith(f"{certificate.serial_number:x} until ")


def test_what_the_document_does_not_have_is_an_error_of_the_compiler(project: Path) -> None:
    wrong = (HERE / "smoke.mts").read_text().replace('profile: "kubelet-client"', 'profile: "kubelet"')
    (project / "wrong.mts").write_text(wrong)
    with pytest.raises(AssertionError, match='"kubelet"'):
        _compile(project, "wrong.mts")


def test_the_lock_file_names_no_registry() -> None:
    lock = json.loads((made.ROOT / "openapi/typescript/package-lock.json").read_text())
    packages = [one for name, one in lock["packages"].items() if name]
    assert packages
    assert all("resolved" not in one and one["integrity"].startswith("sha512-") for one in packages)
