from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.properties.strategies import entries

from trivet.pki.errors import BadRevocationError
from trivet.pki.manifest import API_VERSION, KIND, VALUE_FIELDS, parse_renew_revocation, render_entry
from trivet.pki.revocation import Entry

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats() | st.text(max_size=8) | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
odd_entries = st.dictionaries(
    st.sampled_from(["kind", "notBefore", "description", "includeRenewed", "\udfff", *VALUE_FIELDS.values()]),
    json_values
    | st.sampled_from(["group", "DNS", "ip", "a.b", "10.0.0.0/8", "2026-01-01T00:00:00Z", "true"]),
)


def manifest(revocations: object) -> dict[str, object]:
    spec = {"revocations": revocations}
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": "a"}, "spec": spec}


@given(st.lists(entries(), min_size=1, max_size=4))
def test_what_is_rendered_reads_as_what_it_was(written: list[Entry]) -> None:
    rendered = [render_entry(entry) for entry in written]
    read = parse_renew_revocation(manifest(rendered)).entries
    assert list(read) == written
    assert [render_entry(entry) for entry in read] == rendered


@given(json_values)
def test_no_document_whatever_makes_more_than_a_refusal(document: object) -> None:
    _read_or_refuse(document)
    _read_or_refuse(manifest(document))


@given(st.lists(odd_entries, max_size=3))
@settings(max_examples=300)
def test_no_entry_whatever_makes_more_than_a_refusal(written: list[dict[str, object]]) -> None:
    _read_or_refuse(manifest(written))


def _read_or_refuse(document: object) -> None:
    try:
        parse_renew_revocation(document)
    except BadRevocationError as refusal:
        faults = refusal.faults
    else:
        return
    assert faults
    assert all(fault.pointer == "" or fault.pointer.startswith("/") for fault in faults)
    assert "".join(fault.pointer + fault.message for fault in faults).encode(), "it can be sent"
