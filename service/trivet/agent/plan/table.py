"""THE table of a plan's fields. Reader, JSON Schema and reference page all come from it."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import PurePosixPath
from typing import Final

from trivet.agent.plan.forms import Choice, Field, Flag, Listing, Members, Schema, Text
from trivet.agent.plan.model import API_VERSION, KIND, Encoding, EncryptionAlgorithm
from trivet.pki.kubernetes import PROFILES
from trivet.pki.names import (
    MAX_SANS,
    is_attribute,
    parse_cluster_name,
    parse_dns_name,
    parse_ip_network,
    parse_node_name,
)
from trivet.pki.profiles import CLUSTER_AUTHORITIES, AuthorityName
from trivet.pki.subjects import parse_host

MAX_ITEMS: Final = 200
_LABEL: Final = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DURATION: Final = "(?=[0-9])(?:([0-9]{1,6})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,6})s)?"
# No component is `.` or `..`, which could lead out of the root, nor the folder that holds the versions.
_PATH: Final = r"(?:/(?!\.{1,2}(?:/|$)|\.trivet(?:/|$))[^/\u0000-\u001f\u007f]{1,255})+"


def _span(text: str) -> timedelta:
    match = re.fullmatch(_DURATION, text)
    hours, minutes, seconds = (int(part or 0) for part in match.groups()) if match else (0, 0, 0)
    return timedelta(hours=hours, minutes=minutes, seconds=seconds)


def _attribute(text: str) -> str:
    if not is_attribute(text):
        message = "must have 1 to 64 octets in UTF-8, and no control characters"
        raise ValueError(message)
    return text


def _host_with_port(text: str) -> tuple[str, int | None]:
    """`host`, `host:port`, `[v6]:port` or `[v6]` or a lone v6 address."""
    bracketed = re.fullmatch(r"\[([^\]]+)\](?::([0-9]+))?", text)
    if bracketed:
        host, port = bracketed[1], bracketed[2]
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    else:
        host, port = text, None
    if port is not None and not 0 < int(port) <= 65535:  # noqa: PLR2004  RFC 9293: 16 bits
        message = f"the port {port} is not one of 1 to 65535"
        raise ValueError(message)
    return str(parse_host(host)), None if port is None else int(port)


def _address(text: str) -> tuple[str, int]:
    host, port = _host_with_port(text)
    if port is None:
        message = "needs a port: host:port, or [address]:port for IPv6"
        raise ValueError(message)
    return host, port


def _san(text: str) -> str:
    parse_host(text.removeprefix("*."))
    return text


def _network(text: str) -> object:
    # kubeadm takes two for dual stack; the API server's certificate names the first one's first address.
    return parse_ip_network(text.partition(",")[0])


NAME = Text("a name of a-z, 0-9, - and .", f"{_LABEL}(?:\\.{_LABEL})*")
PATH = Text("an absolute path without . or .. or .trivet in it", _PATH, PurePosixPath)
KEY_MODE = Text(
    'one of "0400", "0600", "0440", "0640" (quoted): a private key is for its owner and one group at most',
    "0[46][04]0",
    lambda text: int(text, 8),
)
PUBLIC_MODE = Text(
    'a mode without write for others, as "0644" (quoted)', "0[46][04][04]", lambda text: int(text, 8)
)
OWNER = Text("the name of a user or group, or its number", "[a-z_][a-z0-9_.-]{0,31}\\$?|[0-9]{1,10}")
SPAN = Text("a span of time as 96h0m0s, 10m or 30s", _DURATION, _span)
ALGORITHM = Choice(tuple(EncryptionAlgorithm), EncryptionAlgorithm)
SERVER = Text("an https URL, as https://10.0.0.10:6443", r"https://[^\s/?#@]+/?")
ATTRIBUTE = Text("1 to 64 octets of text", r"[^\u0000-\u001f\u007f]{1,64}", _attribute)
ARGUMENT = Text("text without control characters", r"[^\u0000-\u0008\u000b-\u001f\u007f]*")
PROGRAM_AND_ARGUMENTS = Listing(ARGUMENT, 100, 1)
HOST_PORT = r"[^\s/]+"

HOOK = Members(
    "Hook",
    (
        Field(
            "command", PROGRAM_AND_ARGUMENTS, "program and arguments, one item each; no shell", required=True
        ),
        Field("timeout", SPAN, "after which it is ended, and counts as failed", default="30s"),
    ),
)
PROBE = Members(
    "Probe",
    (
        Field("address", Text("host:port", HOST_PORT, _address), "what to connect to by TLS", required=True),
        Field("serverName", Text("a DNS name", r"[^\s]+", parse_dns_name), "the TLS server name to ask for"),
        Field("serves", NAME, "the certificate that must be seen there; else the one that this stands in"),
    ),
)
_OWNED = (
    Field("owner", OWNER, "user; else the one who writes the file"),
    Field("group", OWNER, "group; else that of the one who writes the file"),
)
_HOOK = Field("hook", HOOK, "what to run after a change")
_KEY = (
    Field("encryptionAlgorithm", ALGORITHM, "of the key; else the plan's"),
    Field("certificateValidityPeriod", SPAN, "how long it lives; else the plan's, else the profile's"),
)
_SUBJECT = (
    Field("commonName", ATTRIBUTE, "the CN, where the profile leaves it open"),
    Field("organizations", Listing(ATTRIBUTE, 20), "the O values, where the profile leaves them open"),
)
_PROFILE = Choice(tuple(PROFILES), lambda name: PROFILES[name], "a [profile](profiles.md)")


def _either(first: list[str], second: list[str]) -> Schema:
    """JSON Schema for: all of the first, and none of the second; or the other way round."""

    def only(wanted: list[str], unwanted: list[str]) -> Schema:
        return {"required": wanted, "not": {"anyOf": [{"required": [name]} for name in unwanted]}}

    return {"oneOf": [only(first, second), only(second, first)]}


CERTIFICATE = Members(
    "Certificate",
    (
        Field("name", NAME, "unique in the plan", required=True),
        Field("profile", _PROFILE, "what kind of certificate", required=True),
        Field("certFile", PATH, "the certificate; with keyFile, in one folder"),
        Field("keyFile", PATH, "its private key"),
        Field("combinedFile", PATH, "both in one file, as kubelet has them, in place of the two"),
        Field("certMode", PUBLIC_MODE, "of certFile", default="0644"),
        Field("keyMode", KEY_MODE, "of keyFile or combinedFile", default="0600"),
        *_OWNED,
        Field(
            "certSANs",
            Listing(Text("a DNS name or an IP address", r"[^\s]+", _san), MAX_SANS),
            "subjectAltNames to ask for; the profile may add more",
        ),
        *_SUBJECT,
        *_KEY,
        _HOOK,
        Field("probe", PROBE, "where to see that it is served"),
    ),
    _either(["certFile", "keyFile"], ["combinedFile"]),
)
KUBECONFIG = Members(
    "Kubeconfig",
    (
        Field("name", NAME, "unique in the plan", required=True),
        Field("file", PATH, "the kubeconfig", required=True),
        Field("mode", KEY_MODE, "of the file", default="0600"),
        *_OWNED,
        Field("profile", _PROFILE, "of the certificate that it holds"),
        Field(
            "clientCertificate",
            NAME,
            "in place of profile: the certificate of this plan whose files it names",
        ),
        Field("server", SERVER, "the API server; else the plan's controlPlaneEndpoint"),
        Field("user", ATTRIBUTE, "the user's name in the file; else the certificate's CN"),
        *_SUBJECT,
        *_KEY,
        _HOOK,
    ),
    _either(["profile"], ["clientCertificate"]),
)
BUNDLE = Members(
    "TrustBundle",
    (
        Field("name", NAME, "unique in the plan", required=True),
        Field(
            "authority",
            Choice(tuple(CLUSTER_AUTHORITIES), AuthorityName),
            "whose certificates",
            required=True,
        ),
        Field("file", PATH, "where they go", required=True),
        Field("mode", PUBLIC_MODE, "of the file", default="0644"),
        *_OWNED,
        _HOOK,
    ),
)
REVOCATION_LIST = Members(
    "RevocationList",
    (
        Field("name", NAME, "unique in the plan", required=True),
        Field(
            "authority",
            Choice(tuple(CLUSTER_AUTHORITIES), AuthorityName),
            "whose CRL; the plan needs a trust bundle of it, by which the CRL is checked",
            required=True,
        ),
        Field("file", PATH, "where it goes", required=True),
        Field(
            "format",
            Choice(tuple(Encoding), Encoding),
            "DER (one CRL, as etcd reads it) or PEM (one for each CA of the trust bundle, as nginx does)",
            default="PEM",
        ),
        Field("refreshInterval", SPAN, "how often to ask for a newer one; at least 5s", default="30s"),
        Field("mode", PUBLIC_MODE, "of the file", default="0644"),
        *_OWNED,
        _HOOK,
    ),
)
SERVICE_ACCOUNT = Members(
    "ServiceAccountKey",
    (
        Field("keyFile", PATH, "the private key, which signs tokens", required=True),
        Field("publicKeyFile", PATH, "the public key, by which they are verified", required=True),
        Field("keyMode", KEY_MODE, "of keyFile", default="0600"),
        Field("publicKeyMode", PUBLIC_MODE, "of publicKeyFile", default="0600"),
        *_OWNED,
        Field("encryptionAlgorithm", ALGORITHM, "of a new key; else the plan's"),
        Field(
            "create", Flag(), "make a missing key; false where it is copied from the first one", default=True
        ),
    ),
)
NETWORKING = Members(
    "Networking",
    (
        Field(
            "serviceSubnet",
            Text("a CIDR range", r"[0-9a-fA-F.:/,]+", _network),
            "the Services' addresses",
            default="10.96.0.0/12",
        ),
        Field(
            "dnsDomain",
            Text("a DNS name", r"[^\s]+", parse_dns_name),
            "the cluster's DNS domain",
            default="cluster.local",
        ),
    ),
)
SPEC = Members(
    "Spec",
    (
        Field(
            "clusterName",
            Text("a cluster's name", _LABEL, parse_cluster_name),
            "the cluster's name in Trivet",
            required=True,
        ),
        Field("nodeName", Text("a node's name", NAME.pattern, parse_node_name), "this node", required=True),
        Field(
            "controlPlaneEndpoint",
            Text("host or host:port", HOST_PORT, _host_with_port),
            "as kubeadm's; what API servers are called, and where kubeconfigs lead [port 6443]",
        ),
        Field("networking", NETWORKING, "as kubeadm's; what the API server's certificate is named after"),
        Field("encryptionAlgorithm", ALGORITHM, "of all keys that do not say another", default="ECDSA-P384"),
        Field("certificateValidityPeriod", SPAN, "how long certificates live; else as their profile says"),
        Field("certificates", Listing(CERTIFICATE, MAX_ITEMS), "certificates with their keys"),
        Field("kubeconfigs", Listing(KUBECONFIG, MAX_ITEMS), "kubeconfigs"),
        Field("trustBundles", Listing(BUNDLE, MAX_ITEMS), "whom to trust"),
        Field("revocationLists", Listing(REVOCATION_LIST, MAX_ITEMS), "CRLs, for programs that read them"),
        Field("serviceAccountKey", SERVICE_ACCOUNT, "the pair for service accounts' tokens"),
    ),
)
METADATA = Members("Metadata", (Field("name", NAME, "the plan's name", required=True),))
PLAN = Members(
    "CertificatePlan",
    (
        Field("apiVersion", Choice((API_VERSION,)), "the version of this format", required=True),
        Field("kind", Choice((KIND,)), "what this is", required=True),
        Field(
            "metadata",
            METADATA,
            "what it is called",
            required=True,
        ),
        Field("spec", SPEC, "what the node holds", required=True),
    ),
)
OBJECTS: Final = (
    PLAN,
    METADATA,
    SPEC,
    NETWORKING,
    CERTIFICATE,
    KUBECONFIG,
    BUNDLE,
    REVOCATION_LIST,
    SERVICE_ACCOUNT,
    HOOK,
    PROBE,
)


def plan_schema() -> Schema:
    """The JSON Schema (2020-12) of a plan."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": KIND,
        "description": "What a node holds: keys, certificates, kubeconfigs, trust bundles. See docs/plans.md.",
        **PLAN.schema(),
    }
