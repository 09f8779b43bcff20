"""The inventory: administrators say which node owns which names and addresses; no two nodes own the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trivet.authority import record
from trivet.authority.access import Permission, authorized_cluster
from trivet.authority.renewals.identities import has_expired
from trivet.pki.errors import ConflictError, Fault, InvalidError, NotFoundError, PreconditionError
from trivet.pki.inventory import Grants, check_conflicts
from trivet.pki.kubernetes import NODE_PREFIX
from trivet.pki.names import parse_node_name
from trivet.store import certificates, counters, inventory
from trivet.store.inventory import InventoryNode

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection

    from trivet.authority.access import Requester
    from trivet.authority.context import Authority


def put_node(
    authority: Authority,
    requester: Requester,
    cluster: str,
    node: str,
    grants: Grants,
    expected_version: int | None = None,
) -> InventoryNode:
    """Say what a node owns, in the place of what was said before.

    Raises:
        NotFoundError: there is no such cluster.
        InvalidError: that is no node's name.
        ConflictError: another node owns some of it.
        PreconditionError: the entry is not at the expected version.
    """
    _check_node(node)
    with authority.database.write() as connection:
        now = authority.clock()
        found = authorized_cluster(connection, requester, Permission.WRITE_INVENTORY, cluster, now)
        # The lock, too: of two administrators the second sees what the first said.
        version = counters.advance(connection, found.id, "inventory")
        standing = inventory.find(connection, found.id, node)
        _check_version(standing, expected_version)
        if standing is not None and standing.grants == grants and not standing.is_pinned:
            return standing
        refuse_conflicts(connection, found.id, node, grants, now)
        stored = InventoryNode(
            found.id, node, grants, version, is_pinned=False, updated_at=now, updated_by=requester.name
        )
        inventory.put(connection, stored)
        record.change(authority, connection, requester, "inventory.set", node, found.id, described(grants))
    return stored


def refuse_conflicts(
    connection: Connection, cluster_id: UUID, node: str, grants: Grants, now: datetime
) -> None:
    """Refuse what another node owns, by the inventory or by its name.

    Raises:
        ConflictError: it says what, and whose it is.
    """
    check_conflicts(node, grants, inventory.rivals(connection, cluster_id, node, grants))
    for name in grants.dns_names:
        # A node needs no entry to own its name: it may live without one.
        if name != node and _lives(connection, cluster_id, name, now):
            message = (
                f"{name} is the name of a node of this cluster that holds a certificate; it is nobody else's"
            )
            raise ConflictError(message)


def _lives(connection: Connection, cluster_id: UUID, node: str, now: datetime) -> bool:
    known = certificates.of_common_name(connection, cluster_id, NODE_PREFIX + node, "kubelet-client", 1)
    return bool(known) and not has_expired(known[0].not_after, now)


def described(grants: Grants) -> dict[str, object]:
    """What is granted, for an audit record."""
    return {"dnsNames": list(grants.dns_names), "ipAddresses": [str(each) for each in grants.networks]}


def get_node(authority: Authority, requester: Requester, cluster: str, node: str) -> InventoryNode:
    """What a node owns.

    Raises:
        NotFoundError: it has no entry.
    """
    with authority.database.read() as connection:
        now = authority.clock()
        found = authorized_cluster(connection, requester, Permission.READ_INVENTORY, cluster, now)
        return _found(inventory.find(connection, found.id, _known_form(node)), node)


def list_nodes(
    authority: Authority, requester: Requester, cluster: str, after: str | None, limit: int
) -> list[InventoryNode]:
    """What the nodes of a cluster own, by their names."""
    with authority.database.read() as connection:
        now = authority.clock()
        found = authorized_cluster(connection, requester, Permission.READ_INVENTORY, cluster, now)
        return inventory.page(connection, found.id, after, limit)


def delete_node(
    authority: Authority, requester: Requester, cluster: str, node: str, expected_version: int | None = None
) -> None:
    """Take from a node all that it owns; certificates that it holds stay as they are.

    Raises:
        NotFoundError: it has no entry.
        PreconditionError: the entry is not at the expected version.
    """
    with authority.database.write() as connection:
        now = authority.clock()
        found = authorized_cluster(connection, requester, Permission.WRITE_INVENTORY, cluster, now)
        counters.advance(connection, found.id, "inventory")
        standing = _found(inventory.find(connection, found.id, _known_form(node)), node)
        _check_version(standing, expected_version)
        inventory.remove(connection, found.id, standing.node)
        record.change(authority, connection, requester, "inventory.delete", standing.node, found.id, {})


def _check_node(node: str) -> None:
    try:
        parse_node_name(node)
    except ValueError as error:
        raise InvalidError(str(error), Fault("/node", "must be the name of a node")) from error


def _known_form(node: str) -> str:
    # What no database could hold is nobody's name.
    try:
        return parse_node_name(node)
    except ValueError:
        return ""


def _found(entry: InventoryNode | None, node: str) -> InventoryNode:
    if entry is None:
        message = f"the inventory has no node {node[:80]!r}; trivet inventory set makes an entry"
        raise NotFoundError(message)
    return entry


def _check_version(standing: InventoryNode | None, expected: int | None) -> None:
    if expected is None:
        return
    if standing is None or standing.version != expected:
        found = f"at version {standing.version}" if standing else "not there"
        message = f"the entry is {found}, not at version {expected}; read it again and decide anew"
        raise PreconditionError(message)
