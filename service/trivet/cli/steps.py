"""The first steps: commands that work when they are pasted one by one."""

from __future__ import annotations

import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from trivet.settings.file import DEFAULT_DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trivet.bootstrap.layout import Layout
    from trivet.settings import ClientSettings

_NODE: Final = "node-1"
_KEY, _CSR, _LEAF, _ROOT = f"{_NODE}.key", f"{_NODE}.csr", f"{_NODE}.crt", "ca.crt"
_SAMPLE: Final = Path("docs/examples/renew-revocation.yaml")
_SAMPLE_NAME: Final = "my-renew-revocation"


@dataclass(frozen=True, slots=True)
class Step:
    """A command, and what it is for."""

    purpose: str
    command: str


def show_first_steps(settings: ClientSettings, layout: Layout, *, briefly: bool) -> None:
    """Print the first steps; briefly, without what each is for."""
    if settings.cluster is None:
        typer.echo("Then: trivet serve, and: trivet cluster create NAME --endpoint HOST")
        return
    typer.echo("\nFirst steps. While `trivet serve` runs, paste them one by one into another terminal here:")
    for step in first_steps(settings, layout):
        if not briefly:
            typer.echo(f"\n# {step.purpose}")
        typer.echo(step.command)
    typer.echo(f"\nThe API and its documentation: {settings.url}/docs")


def first_steps(settings: ClientSettings, layout: Layout) -> Iterator[Step]:
    """From a key to a certificate, its renewal, a revocation, and the way back."""
    if layout.directory.resolve() != DEFAULT_DIRECTORY.resolve():
        yield Step("Tell trivet where its settings are.", f"export TRIVET_CONFIG={_shown(layout.settings)}")
    yield from _issue(settings, layout.first_steps)
    yield from _revoke(layout.first_steps)


def _issue(settings: ClientSettings, folder: Path) -> Iterator[Step]:
    key, csr, leaf, root = (_shown(folder / file) for file in (_KEY, _CSR, _LEAF, _ROOT))
    cluster = f"{settings.url}/api/v1/clusters/{settings.cluster}"
    yield Step(
        "Make a key and a certificate request for a kubelet, with openssl.",
        "openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-384 -nodes"
        f" -subj '/O=system:nodes/CN=system:node:{_NODE}' -keyout {key} -out {csr}",
    )
    yield Step(
        "Send it and get the certificate. The token goes through a pipe: arguments are for all to see.",
        f"{_curl(settings)} -H 'Content-Type: application/pkcs10' --data-binary @{csr} -o {leaf}"
        f" '{cluster}/certificates?profile=kubelet-client'",
    )
    yield Step(
        "Fetch the CA that signed it.",
        f"{_curl(settings)} -o {root} {cluster}/authorities/cluster/certificate",
    )
    yield Step("Let openssl verify the certificate.", f"openssl verify -x509_strict -CAfile {root} {leaf}")


def _revoke(folder: Path) -> Iterator[Step]:
    trivet, place = _program(), f"--directory {_shown(folder)} --name {_NODE}"
    renew = f"{trivet} renew --certificate {_shown(folder / _LEAF)}"
    by_group = f"{trivet} revoke --group system:nodes --name {_SAMPLE_NAME} --yes"
    yield Step("See what was issued.", f"{trivet} certificates list")
    yield Step("Renew it by proof of its key: a new key, the same names.", renew)
    yield Step("Revoke it.", f"{trivet} revoke -f {_SAMPLE} --yes" if _SAMPLE.exists() else by_group)
    yield Step("Renew again: refused, with the reason.", renew)
    yield Step("Delete the revocation.", f"{trivet} revocations delete {_SAMPLE_NAME}")
    yield Step(
        "What was revoked stays revoked, but the node can have a new certificate.",
        f"{trivet} issue --profile kubelet-client --node {_NODE} {place} --force",
    )


def _curl(settings: ClientSettings) -> str:
    token = _shown(settings.token_file) if settings.token_file else "TOKEN_FILE"
    trust = f" --cacert {_shown(settings.ca_file)}" if settings.ca_file else ""
    return f"sed 's/^/Authorization: Bearer /' {token} | curl -sS --fail-with-body{trust} -H @-"


def _program() -> str:
    """How this very program is called from here: by its name where that finds it, else by its path."""
    program = Path(sys.argv[0]).absolute()
    if program.is_relative_to(Path.cwd()):
        return _shown(program)
    found = shutil.which(program.name)
    return program.name if found and Path(found).absolute() == program else shlex.quote(str(program))


def _shown(path: Path) -> str:
    absolute, here = path.absolute(), Path.cwd()
    return shlex.quote(str(absolute.relative_to(here) if absolute.is_relative_to(here) else absolute))
