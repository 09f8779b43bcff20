from __future__ import annotations

import pytest

from trivet.pki.errors import ConflictError, InvalidError
from trivet.pki.inventory import Grants, Owned, check_conflicts, read_grants
from trivet.pki.names import DnsName, Names, parse_ip_address

ANY = Names("system:node:n1", ("system:nodes",))


def _san(*dns_names: str, addresses: tuple[str, ...] = ()) -> Names:
    hosts = tuple(DnsName(name) for name in dns_names)
    return Names("system:node:n1", ("system:nodes",), hosts, tuple(map(parse_ip_address, addresses)))


def test_every_fault_of_the_grants_is_listed_with_its_place() -> None:
    with pytest.raises(InvalidError) as caught:
        read_grants(["ok.example", "*.example"], ["10.0.0.1/8", "10.0.0.1"])
    assert [fault.pointer for fault in caught.value.faults] == ["/dnsNames/1", "/ipAddresses/0"]


@pytest.mark.parametrize("network", ["0.0.0.0/0", "10.0.0.0/15", "::/0", "2001:db8::/47", "::ffff:0:0/96"])
def test_a_range_as_wide_as_a_network_is_refused(network: str) -> None:
    with pytest.raises(InvalidError, match="too wide"):
        read_grants([], [network])


def test_a_range_as_wide_as_one_node_may_have_is_accepted() -> None:
    assert len(read_grants([], ["10.0.0.0/16", "2001:db8::/48"]).networks) == 2


def test_more_grants_than_a_certificate_can_hold_are_refused() -> None:
    with pytest.raises(InvalidError, match="at most 100"):
        read_grants([f"h{number}.example" for number in range(101)], [])


@pytest.mark.parametrize(
    ("dns_names", "networks", "shared"),
    [
        (["db.example"], [], "db.example"),
        (["DB.example."], [], "db.example"),
        (["n2"], [], "n2"),
        ([], ["10.0.2.7"], "10.0.2.7/32"),
        ([], ["10.0.0.0/16"], "10.0.0.0/16"),
        ([], ["::ffff:10.0.2.7"], "10.0.2.7/32"),
        ([], ["2001:db8::1"], "2001:db8::1/128"),
    ],
)
def test_no_two_nodes_own_the_same_name_or_address(
    dns_names: list[str], networks: list[str], shared: str
) -> None:
    others = {"n2": read_grants(["db.example"], ["10.0.2.0/24", "2001:db8::/64"])}
    with pytest.raises(ConflictError, match="belongs to the node n2") as caught:
        check_conflicts("n1", read_grants(dns_names, networks), others)
    assert caught.value.detail.startswith(shared)


def test_a_node_whose_name_was_granted_to_another_is_a_conflict() -> None:
    with pytest.raises(ConflictError, match="n1 belongs to the node n2"):
        check_conflicts("n1", Grants(), {"n2": read_grants(["n1"], [])})


def test_a_node_has_no_conflict_with_what_it_owns_already() -> None:
    grants = read_grants(["db.example"], ["10.0.2.0/24"])
    check_conflicts("n1", grants, {"n1": grants, "n2": read_grants([], ["10.0.3.0/24", "2001:db8::/64"])})


def test_only_what_is_granted_and_the_own_name_are_granted() -> None:
    grants = read_grants(["db.example"], ["10.0.2.0/24"])
    asked = _san("n1", "db.example", "x.example", addresses=("10.0.2.9", "10.0.3.9", "2001:db8::1"))
    assert Owned("n1", grants).missing(asked) == ("x.example", "10.0.3.9", "2001:db8::1")


def test_a_wildcard_is_not_granted_by_a_name_below_it() -> None:
    assert Owned("n1", read_grants(["db.example"], [])).missing(_san("*.example")) == ("*.example",)


def test_a_node_without_grants_owns_its_name_only() -> None:
    assert Owned("n1").missing(_san("n1", addresses=("10.0.0.1",))) == ("10.0.0.1",)
    assert Owned("n1").missing(ANY) == ()


RESERVED = frozenset({DnsName("api.example"), parse_ip_address("10.96.0.1")})


def test_what_the_api_server_is_found_by_is_no_node_s_own_nor_part_of_its_range() -> None:
    asked = _san("api.example", addresses=("10.96.0.1", "10.96.0.2"))
    owned = Owned("api.example", read_grants([], ["10.96.0.0/24"]), reserved=RESERVED)
    assert [each.split()[0] for each in owned.missing(asked)] == ["api.example", "10.96.0.1"]
    assert "which the API server is found by" in owned.missing(asked)[0]
    told = read_grants(["api.example"], ["10.96.0.0/24", "10.96.0.1"])
    assert Owned("api.example", told, reserved=RESERVED).missing(asked) == ()


def test_grants_without_some_hosts_keep_the_others_and_ranges() -> None:
    grants = read_grants(["api.example", "db.example"], ["10.96.0.1", "10.96.0.0/24", "10.0.0.7"])
    assert grants.without(RESERVED) == read_grants(["db.example"], ["10.96.0.0/24", "10.0.0.7"])
