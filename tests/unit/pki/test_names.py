from __future__ import annotations

import ipaddress

import pytest

from trivet.pki.names import (
    MAX_ATTRIBUTE,
    MAX_DNS_NAME,
    DnsName,
    Names,
    canonical_ip,
    is_attribute,
    is_plain,
    parse_cluster_name,
    parse_dns_name,
    parse_ip_address,
    parse_ip_network,
    parse_node_name,
)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Kubernetes.Default.SVC", "kubernetes.default.svc"),
        ("kubernetes.default.svc.", "kubernetes.default.svc"),
        ("localhost", "localhost"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.Example", "xn--bcher-kva.example"),
        ("bücher.example。", "xn--bcher-kva.example"),
        ("XN--BCHER-KVA.example", "xn--bcher-kva.example"),
        ("\uff4e\uff4f\uff44\uff45.example", "node.example"),
        ("1.example", "1.example"),
        ("a" * 63 + ".example", "a" * 63 + ".example"),
    ],
)
def test_every_spelling_of_a_dns_name_becomes_one(text: str, name: str) -> None:
    assert parse_dns_name(text) == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "a..b",
        "a.b..",
        ".a",
        "-a.b",
        "a-.b",
        "a_b.c",
        "a b",
        "a\n",
        "a" * 64 + ".b",
        ".".join(["a" * 49] * 5) + ".abcde",
        "10.0.0.1",
        "node.1",
        "*",
        "*.",
        "a.*.b",
        "b*.a",
        "\ud800.example",
        "bü cher.example",
        "é" * 300 + ".example",
    ],
)
@pytest.mark.parametrize("wildcard", [False, True])
def test_what_is_not_a_host_name_is_refused(text: str, wildcard: bool) -> None:  # noqa: FBT001
    with pytest.raises(ValueError, match="DNS name"):
        parse_dns_name(text, wildcard=wildcard)


def test_a_wildcard_is_a_name_only_where_wildcards_are_accepted() -> None:
    assert parse_dns_name("*.Example.com.", wildcard=True) == "*.example.com"
    assert parse_dns_name("*.bücher.example", wildcard=True) == "*.xn--bcher-kva.example"
    with pytest.raises(ValueError, match="not a DNS name"):
        parse_dns_name("*.example.com")


def test_a_dns_name_has_at_most_253_characters() -> None:
    longest = ".".join(["a" * 49] * 5) + ".abc"
    assert len(parse_dns_name(longest)) == MAX_DNS_NAME
    with pytest.raises(ValueError, match="not a DNS name"):
        parse_dns_name("a" + longest)
    with pytest.raises(ValueError, match="not a DNS name"):
        parse_dns_name("*." + longest[2:] + "abc", wildcard=True)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::FFFF:C000:201", "192.0.2.1"),
        ("2001:DB8:0::0001", "2001:db8::1"),
        ("::ffff:0:0", "0.0.0.0"),  # noqa: S104  an address to compare, not to bind
        ("::192.0.2.1", "::c000:201"),
    ],
)
def test_every_spelling_of_an_address_becomes_one(text: str, address: str) -> None:
    assert str(parse_ip_address(text)) == address
    assert str(canonical_ip(ipaddress.ip_address(text))) == address


@pytest.mark.parametrize(
    "text", ["", "192.0.2", "192.0.2.01", "192.0.2.1/32", " 192.0.2.1", "fe80::1%eth0", "::ffff:1.2.3.4%1"]
)
def test_what_is_not_an_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="'"):
        parse_ip_address(text)


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("10.0.0.0/255.0.0.0", "10.0.0.0/8"),
        ("192.0.2.1", "192.0.2.1/32"),
        ("2001:DB8::/32", "2001:db8::/32"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        ("::/0", "::/0"),
    ],
)
def test_every_spelling_of_a_network_becomes_one(text: str, network: str) -> None:
    assert str(parse_ip_network(text)) == network


@pytest.mark.parametrize("text", ["10.0.0.1/8", "2001:db8::1/32", "10.0.0.0/33", "fe80::%eth0/64", "", "a/8"])
def test_what_is_not_a_network_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"'|host bits"):
        parse_ip_network(text)


def test_a_common_name_that_is_a_dns_name_is_a_host_name_too() -> None:
    assert Names("API.Example.", dns_names=(DnsName("a"),)).host_names() == {"a", "api.example"}
    assert Names("*.bücher.example").host_names() == {"*.xn--bcher-kva.example"}
    assert Names("system:node:a", dns_names=(DnsName("a"),)).host_names() == {"a"}
    assert Names("10.0.0.1").host_names() == frozenset()


@pytest.mark.parametrize("text", ["a", "a-1", "1", "a" * 63])
def test_a_cluster_name_is_a_label(text: str) -> None:
    assert parse_cluster_name(text) == text
    assert parse_node_name(text) == text


@pytest.mark.parametrize("text", ["", "-a", "a-", "A", "a.b", "a_b", "a" * 64, "a\n"])
def test_what_is_not_a_label_names_no_cluster(text: str) -> None:
    with pytest.raises(ValueError, match="RFC 1123 label"):
        parse_cluster_name(text)


def test_a_node_name_is_a_subdomain() -> None:
    assert parse_node_name("node-1.blue.example") == "node-1.blue.example"
    for text in ("", "a..b", "Node", "a.", "a." * 127):
        with pytest.raises(ValueError, match="not a node name"):
            parse_node_name(text)


@pytest.mark.parametrize(
    "character", ["\0", "\n", "\t", "\x1b", "\x7f", "\x85", "\u2028", "\u2029", "\ud800"]
)
def test_text_with_control_characters_or_half_a_character_is_not_plain(character: str) -> None:
    assert not is_plain(f"a{character}b")
    assert not is_attribute(f"a{character}b")


def test_an_attribute_has_at_most_64_octets() -> None:
    assert is_attribute("a" * MAX_ATTRIBUTE)
    assert is_attribute("ü" * (MAX_ATTRIBUTE // 2))
    assert not is_attribute("a" * (MAX_ATTRIBUTE + 1))
    assert not is_attribute("ü" * (MAX_ATTRIBUTE // 2) + "a")
    assert not is_attribute("")
