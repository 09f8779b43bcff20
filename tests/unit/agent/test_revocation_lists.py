"""CRLs on the disk: what takes the place of what, and what is told when nothing comes."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import timedelta
from io import StringIO
from pathlib import Path, PurePosixPath
from random import Random

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding as Serialized
from tests.support.clock import START
from tests.support.rows import root_der
from tests.support.signing_requests import pooled_key

from trivet.agent.events import Events
from trivet.agent.exposition import Tallies, exposition
from trivet.agent.files import NodeFiles
from trivet.agent.journal import Journal
from trivet.agent.loop import Moment, TaskKind
from trivet.agent.loop import Node as LoopNode
from trivet.agent.plan.model import CertificatePlan, Encoding, PlannedBundle, PlannedFile, PlannedList
from trivet.agent.revocation_lists import ListStanding, RevocationLists
from trivet.client.errors import UnreachableError
from trivet.client.published import Fetched
from trivet.pki.pem import from_der, to_pem
from trivet.pki.plan import stated_key_identifier
from trivet.pki.profiles import AuthorityName

NOW = START + timedelta(minutes=1)
JITTER = Random(0)  # noqa: S311  no secret
DAY = timedelta(days=1)
BUNDLE, LIST = "/pki/ca.crt", "/pki/ca.crl"


def authority(number: int) -> x509.Certificate:
    return from_der(root_der(number))


def revocations(
    number: int,
    ca: int = 1,
    *extensions: x509.ExtensionType,
    begin: timedelta = timedelta(0),
    end: timedelta = DAY,
    numbered: bool = True,
) -> bytes:
    """Make a CRL of that number, signed by that CA."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority(ca).subject)
        .last_update(START + begin)
        .next_update(START + end)
    )
    if numbered:
        builder = builder.add_extension(x509.CRLNumber(number), critical=False)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=True)
    return builder.sign(pooled_key(ca), None).public_bytes(Serialized.DER)


@dataclass
class Given:
    """A service that gives what a test says, with a version; or nothing at all."""

    lists: dict[str, bytes] = field(default_factory=dict)
    asked: list[str | None] = field(default_factory=list)
    is_away: bool = False

    def put(self, der: bytes, ca: int = 1) -> None:
        self.lists[stated_key_identifier(authority(ca)).hex()] = der

    def __call__(self, name: AuthorityName, identifier: str, tag: str | None) -> Fetched | None:
        assert name is AuthorityName.ETCD
        self.asked.append(tag)
        if self.is_away or identifier not in self.lists:
            message = "nobody answers"
            raise UnreachableError(message)
        der = self.lists[identifier]
        version = f'"{hash(der)}"'
        return None if tag == version else Fetched(der, version)


@dataclass
class Node:
    """A folder with a trust bundle, and the CRL beside it."""

    root: Path
    encoding: Encoding = Encoding.DER
    given: Given = field(default_factory=Given)

    def __post_init__(self) -> None:
        (self.root / "pki").mkdir(parents=True)
        self.trust(1)
        bundle = PlannedBundle("etcd-ca", AuthorityName.ETCD, PlannedFile(PurePosixPath(BUNDLE), 0o644))
        self.planned = PlannedList(
            "etcd-crl",
            AuthorityName.ETCD,
            PlannedFile(PurePosixPath(LIST), 0o644),
            self.encoding,
            timedelta(seconds=30),
        )
        plan = CertificatePlan(
            "test", "demo", "n", None, trust_bundles=(bundle,), revocation_lists=(self.planned,)
        )
        self.lists = RevocationLists(NodeFiles(self.root), plan, self.given)

    def trust(self, *cas: int) -> None:
        (self.root / BUNDLE[1:]).write_bytes(to_pem([authority(ca) for ca in cas]))

    @property
    def file(self) -> Path:
        return self.root / LIST[1:]

    def refresh(self) -> ListStanding:
        return self.lists.refresh(self.planned, NOW)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_a_list_is_written_whole_and_then_left_alone(node: Node) -> None:
    node.given.put(revocations(7))
    standing = node.refresh()
    assert (standing.changed, standing.faults, standing.worry(NOW)) == (True, (), None)
    assert node.file.read_bytes() == revocations(7)
    before = node.file.stat()
    assert node.refresh() == replace(standing, changed=False)
    assert node.file.stat() == before
    # The second time it asks whether there is another version.
    assert node.given.asked[0] is None
    assert node.given.asked[1] is not None


def test_a_newer_list_takes_the_place_of_the_former(node: Node) -> None:
    node.given.put(revocations(7))
    node.refresh()
    newer = revocations(8)
    node.given.put(newer)
    assert node.refresh().changed
    assert node.file.read_bytes() == newer


BAD = [
    pytest.param(revocations(6), "its number 6 is less than 7", id="older"),
    pytest.param(revocations(8, ca=2), "not signed by the CA", id="another-CA"),
    pytest.param(revocations(8)[:-1] + b"\x00", "not signed by the CA", id="torn-signature"),
    pytest.param(revocations(8, end=timedelta(seconds=30)), "it is in force from", id="expired"),
    pytest.param(revocations(8, begin=timedelta(hours=1)), "it is in force from", id="of-the-future"),
    pytest.param(revocations(8, 1, x509.DeltaCRLIndicator(7)), "holds a part", id="delta"),
    pytest.param(
        revocations(
            8,
            1,
            x509.IssuingDistributionPoint(
                [x509.UniformResourceIdentifier("http://x/1-of-4.crl")],
                None,
                only_contains_user_certs=False,
                only_contains_ca_certs=False,
                only_some_reasons=None,
                indirect_crl=False,
                only_contains_attribute_certs=False,
            ),
        ),
        "holds a part",
        id="partial",
    ),
    pytest.param(revocations(8, numbered=False), "no CRL that can be read", id="without-number"),
    pytest.param(b"<html>", "no CRL that can be read", id="a-proxy's-page"),
    pytest.param(b"", "no CRL that can be read", id="empty"),
]


@pytest.mark.parametrize(("der", "fault"), BAD)
def test_what_is_worse_never_takes_the_place_of_what_is_there(node: Node, der: bytes, fault: str) -> None:
    node.given.put(revocations(7))
    node.refresh()
    held = node.file.read_bytes()
    node.given.put(der)
    standing = node.refresh()
    assert not standing.changed
    assert fault in standing.faults[0]
    assert node.file.read_bytes() == held
    assert standing.worry(NOW) is None
    # Nor is it taken where there is nothing; the first one in the table would be good then.
    node.file.unlink()
    if "less than" not in fault:
        assert not node.refresh().changed
        assert not node.file.exists()


def test_while_the_service_is_away_the_list_stays_and_its_end_is_told_in_time(node: Node) -> None:
    node.given.put(revocations(7))
    node.refresh()
    node.given.is_away = True
    standing = node.refresh()
    assert standing.faults == ("nobody answers",)
    assert node.file.exists()
    assert standing.worry(START + DAY * 0.74) is None
    assert "expires at 2026-11-25T12:00:00Z, and no newer one" in str(standing.worry(START + DAY * 0.76))
    assert "has expired" in str(standing.worry(START + DAY))


def test_a_missing_list_is_a_worry(node: Node) -> None:
    node.given.is_away = True
    assert "refuses everybody" in str(node.refresh().worry(NOW))


@pytest.mark.parametrize("text", [b"", b"\x00\x01", b"-----BEGIN X509 CRL-----\nAA\n"])
def test_what_cannot_be_read_is_replaced(node: Node, text: bytes) -> None:
    node.given.put(revocations(7))
    node.refresh()
    node.file.write_bytes(text)
    assert node.refresh().changed
    assert node.file.read_bytes() == revocations(7)


def test_an_older_list_that_somebody_put_there_is_replaced_though_the_service_has_no_newer(
    node: Node,
) -> None:
    node.given.put(revocations(7))
    node.refresh()
    node.file.write_bytes(revocations(3))
    assert node.refresh().changed


def test_without_a_trust_bundle_nothing_is_taken(node: Node) -> None:
    (node.root / BUNDLE[1:]).unlink()
    node.given.put(revocations(7))
    assert "trust bundle" in node.refresh().faults[0]
    assert not node.file.exists()


def test_pem_holds_a_list_of_each_ca_and_der_that_of_the_newest(tmp_path: Path) -> None:
    for encoding in Encoding:
        node = Node(tmp_path / encoding, encoding)
        node.trust(1, 2)
        node.given.put(revocations(7))
        node.given.put(revocations(5, ca=2), ca=2)
        assert node.refresh().faults == ()
        text = node.file.read_bytes()
        assert text.count(b"BEGIN X509 CRL") == (2 if encoding is Encoding.PEM else 0)
        # One of the two has news, and of the other the service knows nothing any more.
        node.given.put(revocations(8))
        node.given.lists.pop(stated_key_identifier(authority(2)).hex())
        standing = node.refresh()
        if encoding is Encoding.PEM:
            assert standing.changed
            assert standing.faults == ("nobody answers",)
            assert node.file.read_bytes().count(b"BEGIN X509 CRL") == 2


def test_its_mode_is_mended(node: Node) -> None:
    node.given.put(revocations(7))
    node.refresh()
    node.file.chmod(0o600)
    assert node.refresh().changed
    assert node.file.stat().st_mode & 0o777 == 0o644


def test_a_list_is_asked_for_at_once_and_then_as_often_as_the_plan_says() -> None:
    moment = Moment(NOW, 100.0)
    loop = LoopNode.of({}, moment, lists=["etcd-crl"]).looked({}, moment, JITTER)
    assert loop.next_task(moment).kind is TaskKind.BUNDLES
    loop = loop.bundles_asked(moment, JITTER, answered=True)
    assert (loop.next_task(moment).kind, loop.next_task(moment).name) == (TaskKind.LISTS, "etcd-crl")
    for _ in range(20):
        asked = loop.list_asked("etcd-crl", timedelta(seconds=30), moment, JITTER)
        following = asked.next_task(moment)
        assert following.kind is TaskKind.LISTS
        assert 22.5 <= following.at - 100 <= 30


def test_what_is_told_once_is_not_told_again_until_it_changes(node: Node) -> None:
    out = StringIO()
    events = Events(Journal("test", out, lambda: NOW), node.lists.plan)
    told: dict[str, str] = {}
    node.given.is_away = True
    for _ in range(3):
        events.list_refreshed(node.refresh(), told, NOW)
    node.given.is_away = False
    node.given.put(revocations(7))
    for _ in range(2):
        events.list_refreshed(node.refresh(), told, NOW)
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["listKept", "listInDanger", "listChanged"]
    assert lines[2]["nextUpdate"] == "2026-11-25T12:00:00Z"
    metrics = exposition(
        LoopNode.of({}, Moment(NOW, 0.0)), Tallies(), Moment(NOW, 0.0), {}, {"etcd-crl": node.refresh()}
    )
    end = f"{START.replace(microsecond=0).timestamp() + 86400:.0f}"
    assert f'trivet_agent_revocation_list_next_update_timestamp_seconds{{list="etcd-crl"}} {end}\n' in metrics
    assert 'trivet_agent_revocation_list_fetched{list="etcd-crl"} 1\n' in metrics
