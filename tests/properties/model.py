"""A second opinion on revocations, written from docs/concepts.md alone: plain lists, no index, no database.

Nothing here calls the code that it judges; what it needs of names it is told in words.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

EVERYWHERE = ""
"""The scope that is all clusters."""


@dataclass(frozen=True)
class Holder:
    """What a certificate says of its holder; `hosts` are its dNSNames, and its CN where that is a host's name."""

    common_name: str
    groups: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rule:
    """One revocation entry."""

    kind: str
    value: str
    not_before: datetime | None = None
    include_renewed: bool = True

    def covers(self, issued_at: datetime) -> bool:
        return self.not_before is None or issued_at < self.not_before


@dataclass
class Issued:
    """A certificate as the model knows it; `end` is the first moment at which it is no longer valid."""

    serial: str
    cluster: str
    holder: Holder
    key: str
    issued_at: datetime
    end: datetime
    parent: Issued | None = None
    revoked: bool = False

    def is_valid(self, now: datetime) -> bool:
        return not self.revoked and now < self.end

    def ancestors(self) -> Iterator[Issued]:
        if self.parent is not None:
            yield self.parent
            yield from self.parent.ancestors()


@dataclass
class Model:
    """All certificates, and the standing objects by scope and name."""

    certificates: list[Issued] = field(default_factory=list)
    objects: dict[tuple[str, str], list[Rule]] = field(default_factory=dict)

    def rules(self, cluster: str) -> Iterator[Rule]:
        for (scope, _), rules in self.objects.items():
            if scope in {cluster, EVERYWHERE}:
                yield from rules

    def bans(self, wanted: Issued) -> bool:
        """Whether a certificate may not be issued (at its issued_at), or may not be live."""
        return any(
            _names(rule, wanted) and rule.covers(wanted.issued_at) for rule in self.rules(wanted.cluster)
        )

    def may_issue(self, wanted: Issued) -> bool:
        """Whether the rules of docs/concepts.md let it be issued; its parent, if any, is what it is renewed from."""
        parent = wanted.parent
        if parent is not None and (not parent.is_valid(wanted.issued_at) or self.bans(parent)):
            return False
        return not self.bans(wanted)

    def add(self, scope: str, name: str, rules: list[Rule], now: datetime) -> None:
        self.objects[scope, name] = list(rules)
        for rule in rules:
            self._mark(scope, rule, now)

    def replace(self, scope: str, name: str, rules: list[Rule], now: datetime) -> None:
        left = list(self.objects[scope, name])
        self.objects[scope, name] = list(rules)
        for rule in rules:
            if rule in left:
                left.remove(rule)
            else:
                self._mark(scope, rule, now)

    def _mark(self, scope: str, rule: Rule, now: datetime) -> None:
        for certificate in self.certificates:
            in_scope = scope in {certificate.cluster, EVERYWHERE}
            # A serial's lineage is marked though it has expired.
            reached = now < certificate.end or rule.kind == "SerialNumber"
            if in_scope and reached and _names(rule, certificate) and rule.covers(certificate.issued_at):
                certificate.revoked = True


def _names(rule: Rule, certificate: Issued) -> bool:
    holder, value = certificate.holder, rule.value
    if rule.kind == "SerialNumber":
        inherited = rule.include_renewed and any(one.serial == value for one in certificate.ancestors())
        return certificate.serial == value or inherited
    if rule.kind == "Group":
        return value in holder.groups
    if rule.kind == "CommonName":
        return value == holder.common_name
    if rule.kind == "PublicKey":
        return value == certificate.key
    if rule.kind == "IP":
        network = ipaddress.ip_network(value)
        return any(ipaddress.ip_address(address) in network for address in holder.addresses)
    return any(_host_is_named(value, host) for host in holder.hosts)


def _host_is_named(value: str, host: str) -> bool:
    if value.startswith("."):
        return host.endswith(value) and len(host) > len(value)
    if host.startswith("*."):
        label, _, parent = value.partition(".")
        return value == host or (bool(label) and parent == host[2:])
    return value == host
