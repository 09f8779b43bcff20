from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography import x509

from bench import report
from bench.answers import Answer, WrongAnswerError, check_answers
from bench.entries import entry_of
from bench.figures import BARS, Bar, Rounds, bar_of
from bench.limit import make_certificate, make_issuer
from bench.requests import new_key, request_for
from trivet.pki.names import Names
from trivet.pki.revocation import EntryKind, Identity, entry_keys, identity_keys


def test_the_median_of_the_rounds_counts() -> None:
    rounds = Rounds()
    for value in (1.0, 100.0, 2.0):
        rounds.add_all("issue", {"per_second": value})
    assert rounds.medians() == {"issue.per_second": 2.0}


def test_a_bar_is_found_by_its_figure() -> None:
    assert bar_of("peers.cfssl.ratio") == Bar("peers.*.ratio", least=2.0)
    assert bar_of("issue.sqlite.c64.per_second") is None


@pytest.mark.parametrize(("value", "reached"), [(0.69, False), (0.7, True), (0.9, True)])
def test_a_bar_says_whether_it_is_reached(value: float, reached: bool) -> None:  # noqa: FBT001
    assert Bar("x", least=0.7).is_reached(value) is reached


def test_a_bar_has_one_side() -> None:
    assert all((bar.least is None) != (bar.most is None) for bar in BARS)


@pytest.fixture
def latest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "latest.json"
    monkeypatch.setattr(report, "LATEST", file)
    return file


def test_a_part_that_runs_alone_replaces_its_own_figures_only(latest: Path) -> None:
    report.write_latest({"limit.per_second": 1.0, "peers.old.ratio": 1.0}, (), whole=True)
    report.write_latest({"peers.cfssl.ratio": 2.0}, ("peers",), whole=False)
    assert json.loads(latest.read_text()) == {"limit.per_second": 1.0, "peers.cfssl.ratio": 2.0}


def test_a_whole_run_keeps_nothing_of_before(latest: Path) -> None:
    report.write_latest({"old.figure": 1.0}, (), whole=True)
    report.write_latest({"limit.per_second": float("nan"), "limit.cpu_us": 2.0}, ("limit",), whole=True)
    assert json.loads(latest.read_text()) == {"limit.cpu_us": 2.0}


def test_the_table_replaces_what_is_between_the_markers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "performance.md"
    page.write_text("before\n<!-- figures: begin -->\nold\n<!-- figures: end -->\nafter\n")
    monkeypatch.setattr(report, "PAGE", page)
    report.write_page({"herd.ratio_to_limit": 0.5, "limit.per_second": 1234.5}, "make bench")
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert "| `herd.ratio_to_limit` | 0.50 | ≥ 0.6 | **not reached** |" in text
    assert "| `limit.per_second` | 1,234 |" in text


def test_the_page_in_docs_has_the_markers() -> None:
    text = report.PAGE.read_text()
    assert text.index("<!-- figures: begin -->") < text.index("<!-- figures: end -->")


def test_the_limit_makes_certificates_with_the_extensions_that_trivet_gives() -> None:
    issuer, request = make_issuer(), request_for(1, new_key())
    chain = make_certificate(issuer, "node-1.fleet.example", request)
    leaf, ca = x509.load_pem_x509_certificates(chain)
    leaf.verify_directly_issued_by(ca)
    assert [extension.oid._name for extension in leaf.extensions] == [
        "basicConstraints", "keyUsage", "extendedKeyUsage", "subjectKeyIdentifier", "authorityKeyIdentifier",
        "subjectAltName",
    ]  # fmt: skip


def _answer(chain: bytes) -> Answer:
    return Answer(0, b"HTTP/1.1 201 Created\r\n\r\n" + chain)


def test_an_answer_for_another_key_is_refused() -> None:
    issuer = make_issuer()
    asked, other = (request_for(1, new_key()) for _ in range(2))
    chain = make_certificate(issuer, "node-1.fleet.example", other)
    with pytest.raises(WrongAnswerError, match="another key"):
        check_answers([_answer(chain)], [asked.decode()], issuer.pem.decode())


def test_an_answer_of_another_ca_is_refused() -> None:
    request = request_for(1, new_key())
    chain = make_certificate(make_issuer("one"), "node-1.fleet.example", request)
    with pytest.raises(ValueError, match="ssuer"):
        check_answers([_answer(chain)], [request.decode()], make_issuer("two").pem.decode())


def test_a_serial_that_is_given_twice_is_refused() -> None:
    issuer, request = make_issuer(), request_for(1, new_key())
    answer = _answer(make_certificate(issuer, "node-1.fleet.example", request))
    with pytest.raises(WrongAnswerError, match="twice"):
        check_answers([answer, answer], [request.decode()], issuer.pem.decode())


def test_the_bulk_of_entries_is_of_all_kinds() -> None:
    assert {entry_of(number).kind for number in range(7)} == set(EntryKind)


def test_no_entry_of_the_bulk_is_found_for_what_the_benchmark_asks() -> None:
    identity = Identity(Names("node-6.fleet.example"), "0" * 64)
    keys = {key for number in range(5000) for key in entry_keys(entry_of(number))}
    assert keys.isdisjoint(identity_keys(identity))
