"""A RenewRevocation from the options of a command, or from a file."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
import yaml

from trivet.bootstrap.clock import now
from trivet.cli.exits import CommandError, ExitCode
from trivet.cli.files import read_file
from trivet.pki.manifest import API_VERSION, DEFAULT_NAMESPACE, KIND, VALUE_FIELDS
from trivet.pki.revocation import EntryKind

if TYPE_CHECKING:
    from collections.abc import Mapping

ManifestFile = Annotated[
    Path | None,
    typer.Option("--file", "-f", metavar="FILE", help="A RenewRevocation as YAML or JSON; - for stdin."),
]
Serials = Annotated[
    list[str] | None,
    typer.Option("--serial", metavar="HEX", help="A serial number, and what was renewed from it."),
]
Groups = Annotated[list[str] | None, typer.Option("--group", metavar="NAME", help="An organization.")]
DnsNames = Annotated[
    list[str] | None, typer.Option("--dns", metavar="NAME", help="A DNS name; .example.org for all below it.")
]
Addresses = Annotated[
    list[str] | None, typer.Option("--ip", metavar="ADDRESS", help="An address, or a CIDR range.")
]
CommonNames = Annotated[
    list[str] | None, typer.Option("--common-name", metavar="NAME", help="A common name.")
]
PublicKeys = Annotated[
    list[str] | None, typer.Option("--public-key", metavar="HEX", help="The SHA-256 of a public key (SPKI).")
]
NotBefore = Annotated[
    str | None,
    typer.Option(
        "--not-before", metavar="TIME", help="Only what was issued before: RFC 3339, or now. Else all."
    ),
]
ObjectName = Annotated[
    str | None, typer.Option("--name", metavar="NAME", help="Of the RenewRevocation; else one is made up.")
]
Description = Annotated[
    str | None, typer.Option("--description", metavar="TEXT", help="Why, for those who read it later.")
]
Namespace = Annotated[str, typer.Option("--namespace", "-n", metavar="NAME", help="Of the RenewRevocation.")]
NAMESPACE: Final = DEFAULT_NAMESPACE


@dataclass(frozen=True, slots=True)
class Manifest:
    """A RenewRevocation as it is sent, and what it is called."""

    body: bytes
    namespace: str
    name: str


def manifest_from(
    file: Path | None,
    values: Mapping[EntryKind, list[str] | None],
    *,
    not_before: str | None,
    name: str | None,
    namespace: str,
    description: str | None,
) -> Manifest:
    """Read the manifest from a file, or build it from options.

    Raises:
        CommandError: there is neither, or both, or the file cannot be read.
    """
    chosen = {kind: texts for kind, texts in values.items() if texts}
    if (file is None) == (not chosen):
        message = (
            "say what to revoke: -f FILE, or --serial, --group, --dns, --ip, --common-name or --public-key"
        )
        raise CommandError(message, ExitCode.USAGE)
    if file is not None:
        return _read(file, unused=not (not_before or name or description))
    start = now().isoformat(timespec="seconds").replace("+00:00", "Z") if not_before == "now" else not_before
    entries = [_entry(kind, text, start) for kind, texts in chosen.items() for text in texts]
    name = name or f"revoke-{secrets.token_hex(4)}"
    document = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"description": description or "", "revocations": entries},
    }
    return Manifest(json.dumps(document, ensure_ascii=False).encode(), namespace, name)


def _entry(kind: EntryKind, text: str, not_before: str | None) -> dict[str, str]:
    entry = {"kind": kind.value, VALUE_FIELDS[kind]: text}
    return entry | ({"notBefore": not_before} if not_before else {})


def _read(file: Path, *, unused: bool) -> Manifest:
    if not unused:
        message = "--not-before, --name and --description do not go with -f: the file says it all"
        raise CommandError(message, ExitCode.USAGE)
    body = read_file(file)
    try:
        # Only to know what it is called; whether it is right the service says, with a pointer to each fault.
        document: Any = yaml.load(body, yaml.BaseLoader)  # noqa: S506  makes nothing but text, lists, mappings
        metadata = document["metadata"]
        return Manifest(body, metadata.get("namespace", DEFAULT_NAMESPACE), metadata["name"])
    except (yaml.YAMLError, KeyError, TypeError, AttributeError, UnicodeDecodeError) as error:
        message = f"{file} is not a {KIND}: YAML or JSON with metadata.name"
        raise CommandError(message) from error
