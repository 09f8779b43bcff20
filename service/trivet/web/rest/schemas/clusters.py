"""Clusters and their authorities."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from pydantic import ConfigDict, Field, SecretStr

from trivet.pki.roots import RootAlgorithm
from trivet.web.rest.schemas.base import Page, RequestSchema, Schema
from trivet.web.rest.schemas.enumerations import AuthorityName, GenerationState


class ImportedRootPair(RequestSchema):
    """A root to take over, as it stands in a kubeadm `pki/` folder."""

    certificate: str = Field(description="The CA certificate, PEM.", max_length=65536)
    private_key: SecretStr = Field(description="Its unencrypted private key, PEM.", max_length=65536)


class ImportedRoots(RequestSchema):
    """The three roots of a running cluster."""

    cluster: ImportedRootPair
    etcd: ImportedRootPair
    front_proxy: ImportedRootPair = Field(alias="front-proxy")


class ClusterCreate(RequestSchema):
    """A cluster to create, or (with `import`) to take over."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "prod", "endpoint": "api.prod.example.com"}]}
    )

    name: str = Field(description="An RFC 1123 label, unique.", max_length=63, examples=["prod"])
    endpoint: str = Field(
        description="Host name or address of the control plane.",
        max_length=253,
        examples=["api.prod.example.com"],
    )
    service_cidr: str = Field("10.96.0.0/12", description="Its first address is `kubernetes`.", max_length=50)
    dns_domain: str = Field("cluster.local", max_length=253)
    algorithm: RootAlgorithm = Field(RootAlgorithm.P384, description="Of the roots that are made.")
    roots: ImportedRoots | None = Field(
        None, alias="import", description="All three roots of a running cluster."
    )


class Cluster(Schema):
    """A cluster that Trivet hosts."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "prod",
                    "endpoint": "api.prod.example.com",
                    "serviceCidr": "10.96.0.0/12",
                    "dnsDomain": "cluster.local",
                    "createdAt": "2026-11-24T12:00:00Z",
                }
            ]
        }
    )

    name: str
    endpoint: str
    service_cidr: str
    dns_domain: str
    created_at: datetime


class ClusterPage(Page[Cluster]):
    """A part of a list of Cluster objects."""


class Generation(Schema):
    """A key and certificate of an authority."""

    authority: AuthorityName
    generation: UUID
    state: GenerationState
    subject: str = Field(description="RFC 4514.")
    serial_number: str
    not_before: datetime
    not_after: datetime
    key_algorithm: str = Field(examples=["ECDSA-P384", "RSA-4096"])
    sha256: str = Field(description="Of the DER certificate, hexadecimal.")
    certificate: str = Field(description="PEM.")


class GenerationPage(Page[Generation]):
    """A part of a list of Generation objects."""
