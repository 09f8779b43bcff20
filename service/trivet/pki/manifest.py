"""The RenewRevocation object (`certificates.microsoft.com/v1`): read strictly, refused whole.

Every fault is collected with its RFC 6901 pointer, so that one answer tells all that must be mended.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trivet.pki.documents import MAX_TEXT, Reader
from trivet.pki.entries import VALUE_FIELDS, normalise_value, parse_rfc3339, read_entry, render_entry
from trivet.pki.errors import BadRevocationError
from trivet.pki.names import parse_cluster_name, parse_node_name

if TYPE_CHECKING:
    from trivet.pki.revocation import Entry

__all__ = [
    "API_VERSION",
    "DEFAULT_NAMESPACE",
    "KIND",
    "MAX_ENTRIES",
    "MAX_TEXT",
    "MIRRORED_FROM",
    "VALUE_FIELDS",
    "RenewRevocation",
    "normalise_value",
    "parse_renew_revocation",
    "parse_rfc3339",
    "render_entry",
]

API_VERSION = "certificates.microsoft.com/v1"
KIND = "RenewRevocation"
DEFAULT_NAMESPACE = "kube-system"
MAX_ENTRIES = 1000
MIRRORED_FROM = "signer.trivet/mirrored-from"
"""Annotates what `trivet signer` mirrored from a cluster: which cluster that is."""

# What a server adds to an object is accepted when the object comes back, and ignored.
_SERVER_FIELDS = {"uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "selfLink"}
_METADATA_FIELDS = {"name", "namespace", "labels", "annotations"} | _SERVER_FIELDS


@dataclass(frozen=True, slots=True)
class RenewRevocation:
    """A revocation object as an administrator wrote it, with its entries normalised.

    `spec` is what was written, letter for letter, which says nothing more; None where nobody wrote a document.
    """

    name: str
    namespace: str = DEFAULT_NAMESPACE
    description: str = ""
    entries: tuple[Entry, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    spec: Mapping[str, object] | None = field(default=None, compare=False, repr=False)

    def spec_as_written(self) -> dict[str, object]:
        """The spec that the object is kept with: as written, else in canonical spelling."""
        return dict(self.spec) if self.spec is not None else canonical_spec(self.description, self.entries)


def canonical_spec(description: str, entries: Sequence[Entry]) -> dict[str, object]:
    """A spec in the one spelling that Trivet itself would write."""
    spec: dict[str, object] = {"description": description} if description else {}
    return spec | {"revocations": [render_entry(entry) for entry in entries]}


def parse_renew_revocation(document: object) -> RenewRevocation:
    """Read a RenewRevocation object from its JSON (or YAML) value.

    Raises:
        BadRevocationError: with a pointer to each fault; nothing of the object is accepted.
    """
    reader = Reader()
    revocation = _renew_revocation(reader, document)
    if revocation is None or reader.faults:
        message = f"the {KIND} is refused whole: {len(reader.faults)} fault(s)"
        raise BadRevocationError(message, *reader.faults)
    return revocation


def _renew_revocation(reader: Reader, document: object) -> RenewRevocation | None:
    top = reader.mapping(document, "", {"apiVersion", "kind", "metadata", "spec", "status"})
    if top is None:
        return None
    if top.get("apiVersion") != API_VERSION:
        reader.fault("/apiVersion", f"must be {API_VERSION}")
    if top.get("kind") != KIND:
        reader.fault("/kind", f"must be {KIND}")
    name, namespace, labels, annotations = _metadata(reader, top.get("metadata"))
    description, entries = _spec(reader, top.get("spec"))
    spec = _written(top.get("spec")) if not reader.faults else None
    return RenewRevocation(name, namespace, description, entries, labels, annotations, spec)


def _written(spec: object) -> dict[str, object] | None:
    """The spec without what is null; booleans, which YAML gives as text, are booleans."""
    if not isinstance(spec, Mapping):
        return None
    kept = {key: value for key, value in spec.items() if value is not None}
    entries = kept.get("revocations")
    if isinstance(entries, Sequence):
        kept["revocations"] = [_written_entry(entry) for entry in entries]
    return kept


def _written_entry(entry: object) -> object:
    if not isinstance(entry, Mapping):
        return entry
    kept = {key: value for key, value in entry.items() if value is not None}
    if "includeRenewed" in kept:
        kept["includeRenewed"] = str(kept["includeRenewed"]).lower() == "true"
    return kept


def _metadata(reader: Reader, value: object) -> tuple[str, str, dict[str, str], dict[str, str]]:
    metadata = reader.mapping(value, "/metadata", _METADATA_FIELDS)
    if metadata is None:
        return "", "", {}, {}
    name = reader.parsed(metadata.get("name"), "/metadata/name", _object_name)
    written = metadata.get("namespace", DEFAULT_NAMESPACE)
    namespace = reader.parsed(written, "/metadata/namespace", _namespace)
    labels = reader.texts(metadata.get("labels", {}), "/metadata/labels")
    annotations = reader.texts(metadata.get("annotations", {}), "/metadata/annotations")
    return name or "", namespace or "", labels, annotations


def _object_name(text: str) -> str:
    try:
        return parse_node_name(text)
    except ValueError as error:
        message = "must be an RFC 1123 subdomain: labels of a-z, 0-9 and -, joined by dots"
        raise ValueError(message) from error


def _namespace(text: str) -> str:
    try:
        return parse_cluster_name(text)
    except ValueError as error:
        message = "must be an RFC 1123 label: 1 to 63 of a-z, 0-9 and -"
        raise ValueError(message) from error


def _spec(reader: Reader, value: object) -> tuple[str, tuple[Entry, ...]]:
    spec = reader.mapping(value, "/spec", {"description", "revocations"})
    if spec is None:
        return "", ()
    description = reader.text(spec.get("description", ""), "/spec/description")
    return description or "", _entries(reader, spec.get("revocations"))


def _entries(reader: Reader, value: object) -> tuple[Entry, ...]:
    pointer = "/spec/revocations"
    if not isinstance(value, Sequence) or isinstance(value, str | bytes) or not value:
        reader.fault(pointer, "must be a list of at least one entry")
        return ()
    if len(value) > MAX_ENTRIES:
        reader.fault(pointer, f"must have at most {MAX_ENTRIES} entries; use several objects")
        return ()
    entries = [read_entry(reader, item, f"{pointer}/{index}") for index, item in enumerate(value)]
    return tuple(entry for entry in entries if entry is not None)
