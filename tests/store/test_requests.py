"""Certificate requests, bootstrap tokens and the inventory, as both databases keep them."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import Connection, insert
from tests.store.test_plans import plans_of, scanned
from tests.support import rows
from tests.support.clock import START
from tests.support.refused import refused_write

from trivet.pki.errors import ConflictError
from trivet.pki.inventory import Grants, check_conflicts, read_grants
from trivet.store import bootstrap_tokens, counters, inventory, requests
from trivet.store.bootstrap_tokens import StoredBootstrapToken
from trivet.store.clusters import Cluster
from trivet.store.engine import Database
from trivet.store.inventory import InventoryNode
from trivet.store.requests import RequestFilter, RequestState, StoredRequest, Submitted
from trivet.store.tables import certificate_requests

HOUR = timedelta(hours=1)
FLOOD = 5_000
TABLE = "certificate_requests"


def a_request(cluster: Cluster, name: str = "csr-1", username: str = "token:1") -> StoredRequest:
    return StoredRequest(
        id=rows.new_id(),
        cluster_id=cluster.id,
        name=name,
        version=7,
        der=b"der",
        profile="kubelet-client",
        node="n1",
        signer_name="kubernetes.io/kube-apiserver-client-kubelet",
        usages=("digital signature", "client auth"),
        expiration_seconds=3600,
        submitted=Submitted(username, "uid", ("a", "b"), {"x": ["y"]}, "token:1"),
        state=RequestState.PENDING,
        reason="no rule",
        created_at=START,
        collect_at=START + HOUR,
        generate_name="csr-",
        labels={"a": "b"},
        annotations={"c": "d"},
    )


def test_a_request_is_read_as_it_was_stored_and_keeps_its_spec(connection: Connection) -> None:
    request = a_request(rows.add_cluster(connection))
    requests.add(connection, request)
    assert requests.find(connection, request.cluster_id, "csr-1") == request
    assert requests.find(connection, request.cluster_id, "csr-2") is None
    decided = replace(
        request,
        version=8,
        state=RequestState.ISSUED,
        reason="known",
        conditions=({"type": "Approved"},),
        decided_at=START,
        decided_by="token:2",
        seal="ab",
        certificate_id=rows.new_id(),
        decision_id=rows.new_id(),
    )
    requests.change(connection, replace(decided, der=b"another", node="n2"))
    assert requests.take(connection, [request.id]) == {request.id: decided}
    requests.remove(connection, request.id)
    assert requests.find(connection, request.cluster_id, "csr-1") is None


def test_two_requests_of_a_cluster_cannot_have_one_name(shared_database: Database) -> None:
    with refused_write(shared_database, ConflictError) as connection:
        cluster = rows.add_cluster(connection)
        requests.add(connection, a_request(cluster))
        requests.add(connection, a_request(rows.add_cluster(connection, "red")))
        requests.add(connection, a_request(cluster))


def test_versions_of_a_cluster_follow_one_another(connection: Connection) -> None:
    blue, red = rows.add_cluster(connection), rows.add_cluster(connection, "red")
    taken = [counters.advance(connection, blue.id, "requests") for _ in range(3)]
    assert taken == [1, 2, 3]
    assert counters.advance(connection, blue.id, "inventory") == 1
    assert counters.advance(connection, red.id, "requests") == 1


@pytest.fixture
def flooded(connection: Connection) -> tuple[Connection, Cluster]:
    """Give a cluster with many requests, most of them pending and most of one requester."""
    cluster = rows.add_cluster(connection)
    requests.add(connection, a_request(cluster, "template"))
    template = connection.execute(certificate_requests.select()).one()._asdict()
    numbers = range(FLOOD)
    made = [
        {
            **template,
            "id": rows.new_id(),
            "name": f"csr-{n:05}",
            "username": "flood" if n % 10 else f"token:{n}",
            "state": "pending" if n % 5 else "denied",
            "collect_at": START + n * timedelta(seconds=1),
        }
        for n in numbers
    ]
    connection.execute(insert(certificate_requests), made)
    connection.exec_driver_sql("ANALYZE")
    return connection, cluster


def test_nothing_that_is_asked_of_many_requests_reads_them_all(flooded: tuple[Connection, Cluster]) -> None:
    connection, cluster = flooded
    # Where nearly all rows are wanted, reading a hundred of them as they come is quickest.
    quiet = rows.add_cluster(connection, "quiet")
    early = START + timedelta(seconds=9)
    asked: dict[str, Callable[[], object]] = {
        "list": lambda: requests.page(connection, cluster.id, RequestFilter(), rows.new_id(), 50),
        "list pending": lambda: requests.page(
            connection, cluster.id, RequestFilter(state=RequestState.PENDING), None, 50
        ),
        "list own": lambda: requests.page(
            connection, cluster.id, RequestFilter(username="token:10"), None, 50
        ),
        "find": lambda: requests.find(connection, cluster.id, "csr-00077"),
        "count of one": lambda: requests.has_pending(connection, cluster.id, "token:10", 100),
        "count kept of one": lambda: requests.has_kept(connection, cluster.id, "token:10", 100),
        "count": lambda: requests.has_pending(connection, quiet.id, None, 100),
        "count kept": lambda: requests.has_kept(connection, quiet.id, None, 100),
        "left over": lambda: requests.approved_before(connection, START, (START, cluster.id), 100),
        "due": lambda: requests.due(connection, early, 5),
        "collect": lambda: requests.collect(connection, early, [cluster.id, quiet.id]),
        "list by name": lambda: requests.page_by_name(
            connection, cluster.id, RequestFilter(), "csr-00077", 50
        ),
        "count by name": lambda: requests.count_by_name(
            connection, cluster.id, RequestFilter(), "csr-04900", 1000
        ),
        "list one by name": lambda: requests.page_by_name(
            connection, cluster.id, RequestFilter(name="csr-00077"), None, 50
        ),
        "list own by name": lambda: requests.page_by_name(
            connection, cluster.id, RequestFilter(username="token:10"), None, 50
        ),
    }
    for what, run in asked.items():
        plans = plans_of(connection, run)
        assert plans
        assert TABLE not in scanned(connection, *plans), (what, plans)


def test_there_are_so_many_and_not_one_more(flooded: tuple[Connection, Cluster]) -> None:
    connection, cluster = flooded
    waiting = FLOOD * 4 // 5 + 1
    assert requests.has_pending(connection, cluster.id, None, waiting)
    assert not requests.has_pending(connection, cluster.id, None, waiting + 1)
    assert not requests.has_pending(connection, cluster.id, "token:10", 1)
    assert requests.has_kept(connection, cluster.id, "token:10", 1)
    assert not requests.has_kept(connection, cluster.id, "token:10", 2)
    assert requests.has_kept(connection, cluster.id, None, FLOOD + 1)
    assert not requests.has_kept(connection, cluster.id, None, FLOOD + 2)
    assert requests.pending_by_cluster(connection) == {cluster.id: waiting}


def test_what_has_had_its_time_is_collected_a_few_at_a_time_the_oldest_first(
    flooded: tuple[Connection, Cluster],
) -> None:
    connection, cluster = flooded
    moment = START + timedelta(seconds=29)
    found = [requests.collect(connection, moment, requests.due(connection, moment, 20)) for _ in range(3)]
    assert [len(removed) for removed in found] == [20, 10, 0]
    assert found[0][0].collect_at <= moment
    assert requests.find(connection, cluster.id, "csr-00029") is None
    assert requests.find(connection, cluster.id, "csr-00030") is not None


def a_token(cluster: Cluster, token_id: str = "abcdef", **more: object) -> StoredBootstrapToken:
    token = StoredBootstrapToken(
        token_id,
        cluster.id,
        "n1",
        ("authentication",),
        ("system:bootstrappers:x",),
        "é",
        START,
        "token:1",
        START,
    )
    return replace(token, **more)  # type: ignore[arg-type]  # fields by their names


def test_bootstrap_tokens_are_found_by_hash_and_by_id_in_their_cluster(connection: Connection) -> None:
    blue, red = rows.add_cluster(connection), rows.add_cluster(connection, "red")
    first, second = a_token(blue), a_token(blue, "bbbbbb", node=None)
    bootstrap_tokens.add(connection, first, "hash-1")
    bootstrap_tokens.add(connection, second, "hash-2")
    assert bootstrap_tokens.find_by_hash(connection, "hash-1") == first
    assert bootstrap_tokens.find(connection, red.id, first.id) is None
    assert bootstrap_tokens.with_ids(connection, ["abcdef", "cccccc"]) == {"abcdef": first}
    assert bootstrap_tokens.page(connection, blue.id, "abcdef", 9) == [second]
    assert not bootstrap_tokens.remove(connection, red.id, first.id)
    assert bootstrap_tokens.remove(connection, blue.id, first.id)
    assert bootstrap_tokens.remove_expired(connection, START + HOUR, 9) == 1


def put(connection: Connection, cluster: Cluster, node: str, names: list[str], networks: list[str]) -> None:
    entry = InventoryNode(
        cluster.id, node, read_grants(names, networks), 1, is_pinned=False, updated_at=START, updated_by="x"
    )
    inventory.put(connection, entry)


NETWORKS = [
    "10.0.0.0/24", "10.0.1.0/25", "10.0.0.255", "10.0.1.128", "10.0.0.0/23", "10.0.2.0/24", "2001:db8::/64",
    "2001:db8::1", "2001:db8:0:1::/64", "2001:db8::/48", "10.0.0.0/16", "9.255.255.255", "::ffff:10.0.0.9",
]  # fmt: skip


@pytest.mark.parametrize("asked", NETWORKS)
def test_rivals_are_found_by_index_as_comparing_with_everybody_finds_them(
    connection: Connection, asked: str
) -> None:
    cluster = rows.add_cluster(connection)
    put(connection, cluster, "n2", ["db.example"], ["10.0.0.0/24", "10.0.0.7", "2001:db8::/64"])
    put(connection, cluster, "n3", [], ["10.0.1.0/25", "10.0.1.128/32"])
    put(connection, cluster, "n4", [], ["2001:db8:0:1::1"])
    grants = read_grants([], [asked])
    found = inventory.rivals(connection, cluster.id, "n1", grants)
    everybody = inventory.grants_of(connection, cluster.id, ["n2", "n3", "n4"])
    expected = {node: owned for node, owned in everybody.items() if _in_conflict(grants, {node: owned})}
    assert found == expected
    assert inventory.rivals(connection, cluster.id, "n2", everybody["n2"]) == {}


def _in_conflict(grants: Grants, others: dict[str, Grants]) -> bool:
    try:
        check_conflicts("n1", grants, others)
    except ConflictError:
        return True
    return False


def test_a_node_s_own_ranges_do_not_hide_those_of_others(connection: Connection) -> None:
    cluster = rows.add_cluster(connection)
    put(connection, cluster, "n2", [], ["10.0.255.255"])
    put_many = Grants((), tuple(ipaddress.ip_network(f"10.0.{number}.0") for number in range(250)))
    inventory.put(
        connection,
        InventoryNode(cluster.id, "n1", put_many, 1, is_pinned=False, updated_at=START, updated_by="x"),
    )
    assert set(inventory.rivals(connection, cluster.id, "n1", read_grants([], ["10.0.0.0/16"]))) == {"n2"}


def test_names_have_one_owner_and_a_node_owns_its_own(connection: Connection) -> None:
    cluster = rows.add_cluster(connection)
    put(connection, cluster, "n2", ["db.example"], [])
    assert inventory.owners_of_names(connection, cluster.id, ["n2", "db.example", "x"]) == {
        "n2": "n2",
        "db.example": "n2",
    }
    assert set(inventory.rivals(connection, cluster.id, "n1", read_grants(["n2"], []))) == {"n2"}
    put(connection, cluster, "n2", [], ["10.0.0.1"])
    assert inventory.owners_of_names(connection, cluster.id, ["db.example"]) == {}
    assert inventory.page(connection, cluster.id, None, 9)[0].grants.networks == (
        ipaddress.ip_network("10.0.0.1"),
    )
    assert inventory.remove(connection, cluster.id, "n2")
    assert not inventory.remove(connection, cluster.id, "n2")
