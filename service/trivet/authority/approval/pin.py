"""Pin at first sight: a node's first serving request says what it owns, where the operator wants it so.

Whoever comes first owns the name. That is for networks in which nodes are trusted to tell their own addresses; the
certificate that vouches is the node's own, and nothing is taken from another node.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from trivet.authority import record
from trivet.authority.approval.inventory import described, refuse_conflicts
from trivet.pki.errors import ConflictError
from trivet.pki.inventory import Grants
from trivet.pki.kubernetes import NODE_GROUP, NODE_PREFIX
from trivet.pki.subjects import reserved_hosts
from trivet.store import counters, inventory
from trivet.store.inventory import InventoryNode

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from trivet.authority.access import Requester
    from trivet.authority.context import Authority
    from trivet.pki.csr import CertificateRequest
    from trivet.pki.profiles import Profile
    from trivet.store.clusters import Cluster


def pin_at_first_sight(
    authority: Authority,
    connection: Connection,
    requester: Requester,
    cluster: Cluster,
    profile: Profile,
    node: str | None,
    request: CertificateRequest,
) -> None:
    """Make the node's entry of what it asks for, unless it has one, or some of it is another's or reserved."""
    if not authority.policy.pin_inventory or profile.name != "kubelet-serving":
        return
    is_exact = (request.common_name, request.organizations) == (f"{NODE_PREFIX}{node}", (NODE_GROUP,))
    if node is None or requester.node != node or not is_exact:
        return
    version = counters.advance(connection, cluster.id, "inventory")
    if inventory.find(connection, cluster.id, node) is not None:
        return
    now = authority.clock()
    hosts = tuple(name for name in request.dns_names if name != node)
    grants = Grants(hosts, tuple(ipaddress.ip_network(address) for address in request.ip_addresses))
    if grants.without(reserved_hosts(cluster.names)) != grants:
        return  # only an administrator says who else is found where the API server is; the request waits
    try:
        refuse_conflicts(connection, cluster.id, node, grants, now)
    except ConflictError:
        return  # the request waits, and says what is missing
    pinned = InventoryNode(
        cluster.id, node, grants, version, is_pinned=True, updated_at=now, updated_by=requester.name
    )
    inventory.put(connection, pinned)
    record.change(authority, connection, requester, "inventory.pin", node, cluster.id, described(grants))
