"""cfssl, Cloudflare's CA in Go: `cfssl serve` with its certificate database on SQLite."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from bench.peers.peer import Peer, post

if TYPE_CHECKING:
    from bench.requests import NodeRequest

# Its own migration (certdb/sqlite/migrations/001_CreateCertificates.sql) as plain SQL: goose is not needed for it.
_SCHEMA = """
CREATE TABLE certificates (
  serial_number blob NOT NULL, authority_key_identifier blob NOT NULL, ca_label blob, status blob NOT NULL,
  reason int, expiry timestamp, revoked_at timestamp, pem blob NOT NULL,
  PRIMARY KEY (serial_number, authority_key_identifier)
);
CREATE TABLE ocsp_responses (
  serial_number blob NOT NULL, authority_key_identifier blob NOT NULL, body blob NOT NULL, expiry timestamp,
  PRIMARY KEY (serial_number, authority_key_identifier),
  FOREIGN KEY (serial_number, authority_key_identifier)
    REFERENCES certificates (serial_number, authority_key_identifier)
);
"""
_SIGNING = {"signing": {"default": {"usages": ["signing", "server auth", "client auth"], "expiry": "96h"}}}


class Cfssl(Peer):
    """As installed: SQLite's rollback journal, `synchronous` FULL, both defaults of its driver."""

    name = "cfssl"
    journal = "DELETE"

    @classmethod
    def is_installed(cls) -> bool:
        return shutil.which("cfssl") is not None

    def set_up(self) -> None:
        database = self.folder / "certificates.db"
        with closing(sqlite3.connect(database)) as connection:
            connection.execute(f"PRAGMA journal_mode={self.journal}")
            connection.executescript(_SCHEMA)
        source = {"driver": "sqlite3", "data_source": str(database)}
        (self.folder / "db.json").write_text(json.dumps(source))
        (self.folder / "signing.json").write_text(json.dumps(_SIGNING))

    def command(self) -> list[str]:
        return [
            "cfssl", "serve", "-address=127.0.0.1", f"-port={self.port}", "-ca=ca.pem", "-ca-key=ca.key",
            "-config=signing.json", "-db-config=db.json", f"-tls-cert={self.tls.certificate}",
            f"-tls-key={self.tls.key}",
        ]  # fmt: skip

    def request(self, request: NodeRequest) -> str:
        wish = {"certificate_request": request.pem.decode(), "subject": {"CN": request.node}}
        return post("/api/v1/cfssl/sign", self.port, "application/json", json.dumps(wish))


class CfsslWal(Cfssl):
    """With the write-ahead log switched on by hand, which is not cfssl's default but its best."""

    name = "cfssl_wal"
    journal = "WAL"
