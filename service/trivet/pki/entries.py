"""Revocation entries as they are written: read strictly, normalised once, rendered in one spelling."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from trivet.pki.names import is_plain, parse_dns_name, parse_ip_network
from trivet.pki.revocation import Entry, EntryKind
from trivet.pki.serials import parse_serial, serial_hex

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trivet.pki.documents import Reader

VALUE_FIELDS = {
    EntryKind.SERIAL_NUMBER: "serialNumber",
    EntryKind.GROUP: "group",
    EntryKind.DNS: "dns",
    EntryKind.IP: "ip",
    EntryKind.COMMON_NAME: "commonName",
    EntryKind.PUBLIC_KEY: "publicKey",
}
MAX_NAME = 256  # of a Group or CommonName; X.509 has room for 64, an index of PostgreSQL for 2,704 octets
_KINDS = {kind.value.lower(): kind for kind in EntryKind}
_FIELDS = {"kind", "description", "notBefore", "includeRenewed", *VALUE_FIELDS.values()}
_SHA256 = re.compile(r"[0-9a-f]{64}")
_RFC3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})"
)


def read_entry(reader: Reader, item: object, pointer: str) -> Entry | None:
    """Read one entry; None where it has faults, which the reader then knows."""
    before = len(reader.faults)
    fields = reader.mapping(item, pointer, _FIELDS)
    if fields is None:
        return None
    kind = reader.parsed(fields.get("kind"), f"{pointer}/kind", _entry_kind)
    value = _value(reader, fields, kind, pointer)
    not_before = None
    if "notBefore" in fields:
        not_before = reader.parsed(fields["notBefore"], f"{pointer}/notBefore", parse_rfc3339)
    description = reader.text(fields.get("description", ""), f"{pointer}/description")
    include_renewed = _include_renewed(reader, fields, kind, pointer)
    if kind is None or value is None or len(reader.faults) > before:
        return None
    return Entry(kind, value, not_before, description or "", include_renewed)


def _entry_kind(text: str) -> EntryKind:
    if text.lower() not in _KINDS:
        message = f"must be one of {', '.join(EntryKind)}, in any letter case"
        raise ValueError(message)
    return _KINDS[text.lower()]


def _value(reader: Reader, fields: Mapping[str, object], kind: EntryKind | None, pointer: str) -> str | None:
    value = None
    for own_kind, name in VALUE_FIELDS.items():
        place = f"{pointer}/{name}"
        if kind not in {None, own_kind}:
            if name in fields:
                reader.fault(place, f"an entry of kind {kind} has one value, in {VALUE_FIELDS[kind]}")
        elif name in fields:
            value = reader.parsed(fields[name], place, partial(normalise_value, own_kind))
        elif kind is own_kind:
            reader.fault(place, f"is required in an entry of kind {kind}")
    return value


def normalise_value(kind: EntryKind, text: str) -> str:
    """The one spelling in which a value of that kind is stored and compared.

    Raises:
        ValueError: the text is not such a value; the message says what is accepted.
    """
    match kind:
        case EntryKind.SERIAL_NUMBER:
            return serial_hex(parse_serial(text))
        case EntryKind.DNS:
            return "." + parse_dns_name(text[1:]) if text.startswith(".") else _lone_dns_name(text)
        case EntryKind.IP:
            network = parse_ip_network(text)
            return str(network.network_address if network.num_addresses == 1 else network)
        case EntryKind.PUBLIC_KEY:
            digest = text.strip().replace(":", "").lower()
            if not _SHA256.fullmatch(digest):
                message = "must be the SHA-256 of the SubjectPublicKeyInfo: 64 hexadecimal digits"
                raise ValueError(message)
            return digest
        case EntryKind.GROUP | EntryKind.COMMON_NAME:
            if not (is_plain(text) and 0 < len(text) <= MAX_NAME):
                message = f"must be 1 to {MAX_NAME} characters, none of them control"
                raise ValueError(message)
            return text


def _lone_dns_name(text: str) -> str:
    if text.startswith("*."):
        message = f"{text[:300]!r} is a wildcard; write a suffix ({text[1:300]!r}) to name all below it"
        raise ValueError(message)
    return parse_dns_name(text)


def parse_rfc3339(text: str) -> datetime:
    """Read a time with its offset; sub-microsecond digits are cut off.

    Raises:
        ValueError: it is not one, or has no offset.
    """
    message = f'{text[:80]!r} is not a time as in RFC 3339, like "2026-04-17T17:22:05Z"'
    if not _RFC3339.fullmatch(text.upper()):
        raise ValueError(message)
    try:
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError(message) from error


def _include_renewed(
    reader: Reader, fields: Mapping[str, object], kind: EntryKind | None, pointer: str
) -> bool:
    if "includeRenewed" not in fields:
        return True
    place = f"{pointer}/includeRenewed"
    if kind not in {None, EntryKind.SERIAL_NUMBER}:
        reader.fault(place, f"belongs to entries of kind {EntryKind.SERIAL_NUMBER} only")
        return True
    # YAML is read without implicit types (a serial of digits must stay text), so booleans arrive as text.
    written = fields["includeRenewed"]
    text = str(written).lower() if isinstance(written, bool | str) else ""
    if text not in {"true", "false"}:
        reader.fault(place, "must be true or false")
    return text != "false"


def render_entry(entry: Entry) -> dict[str, object]:
    """The entry as it stands in a RenewRevocation, in canonical spelling."""
    fields: dict[str, object] = {"kind": entry.kind.value, VALUE_FIELDS[entry.kind]: entry.value}
    if entry.description:
        fields["description"] = entry.description
    if entry.not_before is not None:
        fields["notBefore"] = entry.not_before.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if entry.kind is EntryKind.SERIAL_NUMBER and not entry.include_renewed:
        fields["includeRenewed"] = False
    return fields
