"""The schema. Every constraint has a name; migrations/ makes it, and a test shows that both agree.

On PostgreSQL `certificates`, `certificate_names` and `decisions` are partitioned by month (`store.partitions`).
"""

from __future__ import annotations

from typing import Final
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    text,
)

from trivet.store.types import ByteText, Id, Json, UtcDateTime

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

NO_CLUSTER: Final = UUID(int=0)
"""In place of the cluster of what belongs to none, in keys, which hold no null."""

installations = Table(
    "installations",
    metadata,
    Column("id", Integer, primary_key=True),
    # Proves that the operator's key-encryption key is the one that the private keys were encrypted under.
    Column("key_check", String, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    CheckConstraint("id = 1", name="single"),
)

clusters = Table(
    "clusters",
    metadata,
    Column("id", Id, primary_key=True),
    Column("name", ByteText, nullable=False, unique=True),
    Column("endpoint", String, nullable=False),
    Column("service_cidr", String, nullable=False),
    Column("dns_domain", String, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)

authorities = Table(
    "authorities",
    metadata,
    Column("id", Id, primary_key=True),
    # Null is Trivet's own authority, which signs for its HTTPS endpoint and belongs to no cluster.
    Column("cluster_id", ForeignKey("clusters.id"), nullable=True),
    Column("name", String, nullable=False),
    UniqueConstraint("cluster_id", "name"),
)
Index(
    "uq_authorities_service",
    authorities.c.name,
    unique=True,
    sqlite_where=text("cluster_id IS NULL"),
    postgresql_where=text("cluster_id IS NULL"),
)

generations = Table(
    "generations",
    metadata,
    Column("id", Id, primary_key=True),
    Column("authority_id", ForeignKey("authorities.id"), nullable=False, index=True),
    Column("state", String, nullable=False),
    Column("certificate", LargeBinary, nullable=False),
    Column("private_key", LargeBinary, nullable=False),
    # No key is shared between authorities: what one cluster's CA signs must mean nothing in another.
    Column("spki_sha256", ByteText, nullable=False, unique=True),
    Column("created_at", UtcDateTime, nullable=False),
    CheckConstraint("state IN ('staged', 'active', 'retiring', 'retired')", name="state"),
)
Index(
    "uq_generations_active",
    generations.c.authority_id,
    unique=True,
    sqlite_where=text("state = 'active'"),
    postgresql_where=text("state = 'active'"),
)

decisions = Table(
    "decisions",
    metadata,
    Column("id", Id, primary_key=True),
    Column("decided_at", UtcDateTime, nullable=False),
    Column("cluster_id", ForeignKey("clusters.id"), nullable=True),
    Column("requester", String, nullable=False),
    Column("action", String, nullable=False),
    Column("profile", String, nullable=False),
    Column("request_sha256", String(64), nullable=False),
    Column("verdict", String, nullable=False),
    Column("reason", String, nullable=True),
    Column("detail", String, nullable=True),
    Column("cluster_version", BigInteger, nullable=True),
    Column("global_version", BigInteger, nullable=True),
    # The entries that could have matched, each with its verdict; and the names that were compared.
    Column("considered", Json, nullable=False),
    Column("identity", Json, nullable=True),
    Column("serial", ByteText, nullable=True),
    Column("parent_serial", ByteText, nullable=True),
    Column("request_id", String, nullable=True),
    # What was issued, and the record's place in its chain; null in records from before there were chains.
    Column("certificate_sha256", String(64), nullable=True),
    Column("chain", BigInteger, nullable=True),
    Column("position", BigInteger, nullable=True),
    Column("previous_sha256", String(64), nullable=True),
    CheckConstraint("verdict IN ('issued', 'refused')", name="verdict"),
    Index(None, "cluster_id", "id"),
    Index(None, "chain", "position"),
    postgresql_partition_by="RANGE (id)",
)

# Expired certificates leave `certificates` and `certificate_names` (`store.pruning`); so nothing refers to them by
# a foreign key, and what must outlive them, the uniqueness of serials and the lineage, stands in `serials`.
certificates = Table(
    "certificates",
    metadata,
    Column("id", Id, primary_key=True),
    Column("cluster_id", ForeignKey("clusters.id"), nullable=True),
    Column("authority", String, nullable=False),
    Column("generation_id", ForeignKey("generations.id"), nullable=False),
    # Looked up in `serials`, which has the index.
    Column("serial", ByteText, nullable=False),
    Column("profile", String, nullable=False),
    Column("node", String, nullable=True),
    Column("common_name", String, nullable=False),
    Column("spki_sha256", ByteText, nullable=False, index=True),
    # The true time of issue, which every revocation rule compares with; notBefore is backdated.
    Column("issued_at", UtcDateTime, nullable=False),
    Column("not_before", UtcDateTime, nullable=False),
    Column("not_after", UtcDateTime, nullable=False, index=True),
    Column("der", LargeBinary, nullable=False),
    Column("parent_id", Id, nullable=True),
    Column("decision_id", Id, nullable=False),
    Column("requester", String, nullable=False),
    Column("superseded_at", UtcDateTime, nullable=True),
    Column("revoked_at", UtcDateTime, nullable=True),
    Column("revoked_by", ForeignKey("revocation_entries.id"), nullable=True),
    # A keyed hash of what is noted here for good; null in rows from before there were seals.
    Column("seal", String(64), nullable=True),
    Index(None, "cluster_id", "id"),
    Index(
        "ix_certificates_revoked",
        "cluster_id",
        "id",
        sqlite_where=text("revoked_at IS NOT NULL"),
        postgresql_where=text("revoked_at IS NOT NULL"),
    ),
    # What an entry marked (`store.crls`).
    Index(
        "ix_certificates_revoked_by",
        "revoked_by",
        "generation_id",
        sqlite_where=text("revoked_by IS NOT NULL"),
        postgresql_where=text("revoked_by IS NOT NULL"),
    ),
    # What a cluster holds now (`store.identities`), however much of its past is kept.
    Index(
        "ix_certificates_current",
        "cluster_id",
        "id",
        sqlite_where=text("superseded_at IS NULL"),
        postgresql_where=text("superseded_at IS NULL"),
    ),
    postgresql_partition_by="RANGE (id)",
)

serials = Table(
    "serials",
    metadata,
    # Never pruned: a serial is unique for its issuer for ever, and a lineage holds though a link of it was pruned.
    Column("serial", ByteText, primary_key=True),
    Column("generation_id", Id, primary_key=True),
    Column("certificate_id", Id, nullable=False),
    Column("parent_id", Id, nullable=True),
    Index(
        "ix_serials_parent_id",
        "parent_id",
        sqlite_where=text("parent_id IS NOT NULL"),
        postgresql_where=text("parent_id IS NOT NULL"),
    ),
    sqlite_with_rowid=False,
)

certificate_names = Table(
    "certificate_names",
    metadata,
    # NO_CLUSTER for Trivet's own certificates. First in the key: a search costs what its cluster holds.
    Column("cluster_id", Id, primary_key=True),
    Column("kind", ByteText, primary_key=True),
    Column("key", ByteText, primary_key=True),
    Column("certificate_id", Id, primary_key=True, index=True),
    postgresql_partition_by="RANGE (certificate_id)",
    sqlite_with_rowid=False,
)

revocation_sets = Table(
    "revocation_sets",
    metadata,
    # A cluster's id, or ALL_CLUSTERS. Every change of the entries of a scope takes the next version.
    Column("scope", Id, primary_key=True),
    Column("version", BigInteger, nullable=False),
)

revocations = Table(
    "revocations",
    metadata,
    Column("id", Id, primary_key=True),
    Column("scope", ForeignKey("revocation_sets.scope"), nullable=False),
    Column("namespace", ByteText, nullable=False),
    Column("name", ByteText, nullable=False),
    Column("description", String, nullable=False),
    Column("labels", Json, nullable=False),
    Column("annotations", Json, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("created_by", String, nullable=False),
    Column("deleted_at", UtcDateTime, nullable=True),
    Index(
        "uq_revocations_standing",
        "scope",
        "namespace",
        "name",
        unique=True,
        sqlite_where=text("deleted_at IS NULL"),
        postgresql_where=text("deleted_at IS NULL"),
    ),
)

revocation_entries = Table(
    "revocation_entries",
    metadata,
    Column("id", Id, primary_key=True),
    Column("revocation_id", ForeignKey("revocations.id"), nullable=False, index=True),
    Column("scope", ForeignKey("revocation_sets.scope"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("kind", String, nullable=False),
    Column("value", String, nullable=False),
    Column("not_before", UtcDateTime, nullable=True),
    Column("description", String, nullable=False),
    Column("include_renewed", Boolean, nullable=False),
    # The versions of its scope's set between which the entry stood; removed entries stay, for auditors.
    Column("added_in", BigInteger, nullable=False),
    Column("removed_in", BigInteger, nullable=True),
    Index(None, "scope", "added_in"),
    Index(None, "scope", "removed_in"),
)

revocation_entry_keys = Table(
    "revocation_entry_keys",
    metadata,
    # Standing entries only: the check of every issuance is an equality look-up here.
    Column("kind", ByteText, primary_key=True),
    Column("value", ByteText, primary_key=True),
    Column("entry_id", ForeignKey("revocation_entries.id"), primary_key=True, index=True),
)

counters = Table(
    "counters",
    metadata,
    # Every change of an object takes the next value of its cluster, so that no version ever shows twice. Whoever takes
    # one holds the row until the transaction ends: changes come one after the other, in the order of their versions.
    Column("cluster_id", ForeignKey("clusters.id"), primary_key=True),
    Column("kind", String, primary_key=True),
    Column("value", BigInteger, nullable=False),
    CheckConstraint("kind IN ('requests', 'inventory')", name="kind"),
)

certificate_requests = Table(
    "certificate_requests",
    metadata,
    Column("id", Id, primary_key=True),
    Column("cluster_id", ForeignKey("clusters.id"), nullable=False),
    # As metadata and spec of a Kubernetes CertificateSigningRequest have it. The spec never changes; labels may.
    Column("name", ByteText, nullable=False),
    Column("generate_name", String, nullable=True),
    Column("labels", Json, nullable=False),
    Column("annotations", Json, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("der", LargeBinary, nullable=False),
    Column("profile", String, nullable=False),
    Column("node", String, nullable=True),
    Column("signer_name", String, nullable=True),
    Column("usages", Json, nullable=False),
    Column("expiration_seconds", Integer, nullable=True),
    Column("username", ByteText, nullable=False),
    Column("uid", String, nullable=True),
    Column("groups", Json, nullable=False),
    Column("extra", Json, nullable=False),
    # Who submitted it, by the name that records have; and by what they were known, which is asked again when it counts.
    Column("requester", String, nullable=False),
    Column("voucher_id", Id, nullable=True),
    Column("bootstrap_token", ByteText, nullable=True),
    Column("state", ByteText, nullable=False),
    # Why it waits, or what became of it; each step with its time in `conditions`.
    Column("reason", String, nullable=False),
    Column("conditions", Json, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("decided_at", UtcDateTime, nullable=True),
    Column("decided_by", String, nullable=True),
    # A keyed hash of what was approved: whoever can write to the database cannot approve.
    Column("seal", String, nullable=True),
    # Both may be pruned before the request is collected, or never exist: no foreign keys.
    Column("certificate_id", Id, nullable=True),
    Column("decision_id", Id, nullable=True),
    Column("collect_at", UtcDateTime, nullable=False, index=True),
    # The CSR as PEM where that was written in an unusual way, so that `kubectl apply` finds nothing to change.
    Column("pem", String, nullable=True),
    Column("managed_fields", Json, nullable=True),
    CheckConstraint("state IN ('pending', 'approved', 'issued', 'denied', 'failed')", name="state"),
    UniqueConstraint("cluster_id", "name"),
    Index(None, "cluster_id", "id"),
    Index(None, "cluster_id", "username", "id"),
    Index(None, "state", "cluster_id", "id"),
    Index(
        "ix_certificate_requests_pending",
        "cluster_id",
        "username",
        sqlite_where=text("state = 'pending'"),
        postgresql_where=text("state = 'pending'"),
    ),
)

bootstrap_tokens = Table(
    "bootstrap_tokens",
    metadata,
    # The public part; unique in all clusters, so that a requester's name tells one token from all others.
    Column("id", ByteText, primary_key=True),
    Column("cluster_id", ForeignKey("clusters.id"), nullable=False),
    Column("secret_hash", ByteText, nullable=False, unique=True),
    # The one node that it is for; null for any.
    Column("node", String, nullable=True),
    Column("usages", Json, nullable=False),
    Column("groups", Json, nullable=False),
    Column("description", String, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("created_by", String, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False, index=True),
    Index(None, "cluster_id", "id"),
)

inventory_nodes = Table(
    "inventory_nodes",
    metadata,
    Column("cluster_id", ForeignKey("clusters.id"), primary_key=True),
    Column("node", ByteText, primary_key=True),
    # As administrators wrote them, in canonical form; `inventory_grants` is what they are found by.
    Column("dns_names", Json, nullable=False),
    Column("networks", Json, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("is_pinned", Boolean, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Column("updated_by", String, nullable=False),
)

inventory_grants = Table(
    "inventory_grants",
    metadata,
    # Names, and ranges of addresses by first and last one (`pki.search`). No two of a cluster overlap, so whoever
    # might own an address has the range that begins nearest below it: one search.
    Column("cluster_id", ForeignKey("clusters.id"), primary_key=True),
    Column("kind", ByteText, primary_key=True),
    Column("first", ByteText, primary_key=True),
    Column("last", ByteText, nullable=False),
    Column("node", ByteText, nullable=False),
    Index(None, "cluster_id", "node"),
    CheckConstraint("kind IN ('dns', 'ip')", name="kind"),
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", Id, primary_key=True),
    Column("description", String, nullable=False),
    Column("role", String, nullable=False),
    Column("cluster_id", ForeignKey("clusters.id"), nullable=True),
    Column("secret_hash", ByteText, nullable=False, unique=True),
    Column("created_at", UtcDateTime, nullable=False),
    Column("created_by", String, nullable=False),
    Column("expires_at", UtcDateTime, nullable=True),
    # An approver decides requests for these signers only; null or none for all.
    Column("signer_names", Json, nullable=True),
    CheckConstraint("role IN ('admin', 'issuer', 'approver', 'auditor', 'signer')", name="role"),
)

early_renewals = Table(
    "early_renewals",
    metadata,
    Column("id", Id, primary_key=True),
    Column("cluster_id", ForeignKey("clusters.id"), nullable=False),
    # What was issued before `asked_at` renews, spread over the time until `ends_at`.
    Column("asked_at", UtcDateTime, nullable=False),
    Column("ends_at", UtcDateTime, nullable=False),
    Column("asked_by", String, nullable=False),
    Index(None, "cluster_id", "id"),
)

abandoned_certificates = Table(
    "abandoned_certificates",
    metadata,
    # Nobody waits for them any more: their node was removed. A certificate may be pruned meanwhile: no foreign key.
    Column("cluster_id", ForeignKey("clusters.id"), primary_key=True),
    Column("certificate_id", Id, primary_key=True),
    Column("node", String, nullable=True),
    Column("abandoned_at", UtcDateTime, nullable=False),
    Column("abandoned_by", String, nullable=False),
)

repair_windows = Table(
    "repair_windows",
    metadata,
    Column("id", Id, primary_key=True),
    Column("cluster_id", ForeignKey("clusters.id"), nullable=False),
    Column("opened_at", UtcDateTime, nullable=False),
    Column("opened_by", String, nullable=False),
    Column("ends_at", UtcDateTime, nullable=False),
    Column("longest_expired_seconds", Integer, nullable=False),
    Column("patience_seconds", Integer, nullable=False),
    # How many identities were not fresh when it was opened; a window that was opened for none does not close as done.
    Column("pending", Integer, nullable=False),
    Column("outcome", String, nullable=True),
    Column("closed_at", UtcDateTime, nullable=True),
    Column("closed_by", String, nullable=True),
    CheckConstraint("outcome IN ('completed', 'ended', 'closed')", name="outcome"),
    Index(None, "cluster_id", "id"),
    Index(
        "uq_repair_windows_open",
        "cluster_id",
        unique=True,
        sqlite_where=text("closed_at IS NULL"),
        postgresql_where=text("closed_at IS NULL"),
    ),
)

repair_stages = Table(
    "repair_stages",
    metadata,
    # The stages that are over: later ones need not wait for them any more, whatever happens.
    Column("window_id", ForeignKey("repair_windows.id"), primary_key=True),
    Column("stage", String, primary_key=True),
    Column("ended", String, nullable=False),
    Column("ended_at", UtcDateTime, nullable=False),
    CheckConstraint("stage IN ('etcd', 'api-server', 'rest')", name="stage"),
    CheckConstraint("ended IN ('fresh', 'passed', 'skipped')", name="ended"),
)

repair_tokens = Table(
    "repair_tokens",
    metadata,
    Column("id", Id, primary_key=True),
    Column("window_id", ForeignKey("repair_windows.id"), nullable=False, index=True),
    Column("node", String, nullable=False),
    Column("secret_hash", ByteText, nullable=False, unique=True),
    Column("created_at", UtcDateTime, nullable=False),
    Column("created_by", String, nullable=False),
)

repair_token_uses = Table(
    "repair_token_uses",
    metadata,
    # Each identity once: whoever inserts the row first has used the token for it.
    Column("token_id", ForeignKey("repair_tokens.id"), primary_key=True),
    Column("held_id", Id, primary_key=True),
    Column("certificate_id", Id, nullable=False),
    Column("used_at", UtcDateTime, nullable=False),
)

crl_lists = Table(
    "crl_lists",
    metadata,
    # One scope of CRLs: all certificates of a generation (1 of 1), or a shard of them.
    Column("id", Id, primary_key=True),
    Column("cluster_id", ForeignKey("clusters.id"), nullable=False),
    Column("generation_id", ForeignKey("generations.id"), nullable=False),
    Column("shards", Integer, nullable=False),
    Column("shard", Integer, nullable=False),
    # The number of its newest CRL, which only grows: a CRL takes the next one in the transaction that stores it.
    Column("number", BigInteger, nullable=False),
    # Of the revocation sets of its cluster and of all clusters: what the newest CRL covers.
    Column("cluster_version", BigInteger, nullable=False),
    Column("global_version", BigInteger, nullable=False),
    Column("renew_at", UtcDateTime, nullable=False, index=True),
    Column("base_urls", Json, nullable=False),
    UniqueConstraint("generation_id", "shards", "shard"),
    CheckConstraint("shard >= 1 AND shard <= shards", name="shard"),
)

crls = Table(
    "crls",
    metadata,
    # The newest of each list. Two of one list never have the same number.
    Column("list_id", ForeignKey("crl_lists.id"), primary_key=True),
    Column("number", BigInteger, primary_key=True),
    Column("published_at", UtcDateTime, nullable=False),
    Column("this_update", UtcDateTime, nullable=False),
    Column("next_update", UtcDateTime, nullable=False),
    Column("entries", Integer, nullable=False),
    Column("sha256", String(64), nullable=False),
    # Where the entries begin in the DER, and which of them expire when (`pki.crl_entries`).
    Column("entries_offset", Integer, nullable=False),
    Column("layout", LargeBinary, nullable=False),
    Column("der", LargeBinary, nullable=False),
    CheckConstraint("number > 0", name="number"),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("requester", ByteText, primary_key=True),
    Column("key", ByteText, primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("reference", String, nullable=False),
    Column("created_at", UtcDateTime, nullable=False, index=True),
)

audit_records = Table(
    "audit_records",
    metadata,
    Column("id", Id, primary_key=True),
    Column("recorded_at", UtcDateTime, nullable=False),
    Column("requester", String, nullable=False),
    Column("action", String, nullable=False),
    Column("object", String, nullable=False),
    Column("cluster_id", ForeignKey("clusters.id"), nullable=True),
    Column("details", Json, nullable=False),
    Column("request_id", String, nullable=True),
    # The place in the chain of the audit trail; null in records from before there was one.
    Column("position", BigInteger, nullable=True, unique=True),
    Column("previous_sha256", String(64), nullable=True),
    Index(None, "cluster_id", "id"),
)

ocsp_responders = Table(
    "ocsp_responders",
    metadata,
    # One for each generation that somebody asked about. All processes use it; whoever holds the lease makes the next.
    Column("generation_id", ForeignKey("generations.id"), primary_key=True),
    # All null until the first one is made. A certificate may be pruned meanwhile: no foreign key.
    Column("certificate_id", Id, nullable=True),
    Column("certificate", LargeBinary, nullable=True),
    Column("private_key", LargeBinary, nullable=True),
    # When the next one is due; that of one not made yet is when it was first wanted.
    Column("renew_at", UtcDateTime, nullable=False, index=True),
    Column("leased_until", UtcDateTime, nullable=True),
)

chains = Table(
    "chains",
    metadata,
    # Without gaps, so that one that is missing is missed. Number 1 is the audit trail; the others hold decisions.
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("opening", String, nullable=False),
    Column("opened_at", UtcDateTime, nullable=False),
    # Nobody writes to it from then on; null for the audit trail, which never ends.
    Column("expires_at", UtcDateTime, nullable=True),
    # The checkpoint that closed it.
    Column("closed_in", BigInteger, nullable=True),
    # The last record of the audit trail, whose writers take turns; that of other chains is with their one writer.
    Column("position", BigInteger, nullable=False),
    Column("head", String(64), nullable=False),
    Index(
        "ix_chains_open",
        "number",
        sqlite_where=text("closed_in IS NULL"),
        postgresql_where=text("closed_in IS NULL"),
    ),
)

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("made_at", UtcDateTime, nullable=False),
    # What was signed, with its signature, and the hash that the next one carries.
    Column("line", String, nullable=False),
    Column("sha256", String(64), nullable=False),
    # Whether it says that records were pruned: what explains why they are missing, and so goes with every export.
    Column("prunes", Boolean, nullable=False),
    Index(None, "made_at"),
)

object_manifests = Table(
    "object_manifests",
    metadata,
    # What an object of the Kubernetes API says beyond what is compared: one row for each object, by its id.
    Column("object_id", Id, primary_key=True),
    # As it was written, so that `kubectl apply` finds nothing to change.
    Column("spec", Json, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("managed_fields", Json, nullable=False),
)

object_changes = Table(
    "object_changes",
    metadata,
    # What watches are told: each change of a resource in a scope under its version, written with the change itself.
    Column("scope", Id, primary_key=True),
    Column("resource", ByteText, primary_key=True),
    Column("version", BigInteger, primary_key=True),
    Column("change", String, nullable=False),
    Column("object", Json, nullable=False),
    # The labels before it, by which a watch with a selector knows that an object came or went.
    Column("former_labels", Json, nullable=False),
    Column("changed_at", UtcDateTime, nullable=False, index=True),
    CheckConstraint("change IN ('ADDED', 'MODIFIED', 'DELETED')", name="change"),
)
