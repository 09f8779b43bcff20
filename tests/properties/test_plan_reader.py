"""What is true of every plan, and of everything that is none."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from trivet.agent.plan import BadPlanError, CertificatePlan, parse_plan
from trivet.agent.plan.builtin import BUILT_IN, Choices, built_in_plan
from trivet.agent.plan.model import EncryptionAlgorithm

labels = st.from_regex(r"[a-z][a-z0-9]{0,8}", fullmatch=True)
addresses = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str)
spans = st.integers(10, 5759).map(lambda minutes: f"{minutes // 60}h{minutes % 60}m")
hooks = st.fixed_dictionaries(
    {
        "command": st.lists(
            st.text(st.characters(min_codepoint=32, max_codepoint=126)), min_size=1, max_size=3
        )
    },
    optional={"timeout": st.integers(1, 90).map(lambda seconds: f"{seconds}s")},
)
extras = st.fixed_dictionaries(
    {},
    optional={
        "encryptionAlgorithm": st.sampled_from(EncryptionAlgorithm).map(str),
        "certificateValidityPeriod": spans,
        "keyMode": st.sampled_from(["0400", "0600", "0440", "0640"]),
        "owner": labels,
        "group": st.integers(0, 9999).map(str),
        "hook": hooks,
        "probe": st.fixed_dictionaries(
            {"address": st.integers(1, 65535).map(lambda port: f"127.0.0.1:{port}")}
        ),
    },
)


def certificate(number: int, profile: str, host: str, more: dict[str, Any]) -> dict[str, Any]:
    named: dict[str, Any] = {"name": f"c{number}", "profile": profile}
    if profile in {"etcd-server", "etcd-peer", "kubelet-serving"}:
        named["certSANs"] = [host]
    if profile == "kubelet-client":
        return named | {"combinedFile": f"/k/c{number}.pem"} | more
    return named | {"certFile": f"/pki/c{number}.crt", "keyFile": f"/pki/c{number}.key"} | more


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """A plan as somebody may write it."""
    profiles = st.sampled_from(["etcd-server", "etcd-peer", "kubelet-client", "kubelet-serving", "scheduler"])
    chosen = draw(st.lists(st.tuples(profiles, labels | addresses, extras), max_size=4))
    spec: dict[str, Any] = {
        "clusterName": draw(labels),
        "nodeName": draw(labels),
        "controlPlaneEndpoint": draw(labels),
        "certificates": [certificate(number, *one) for number, one in enumerate(chosen)],
        "kubeconfigs": [{"name": "admin", "file": "/admin.conf", "profile": "admin"}],
    }
    return {
        "apiVersion": "trivet.io/v1",
        "kind": "CertificatePlan",
        "metadata": {"name": draw(labels)},
        "spec": spec,
    }


@settings(max_examples=40)
@given(documents(), st.booleans())
def test_a_plan_means_the_same_however_it_is_written_down(document: dict[str, Any], flow: bool) -> None:  # noqa: FBT001
    as_json = parse_plan(json.dumps(document).encode())
    as_yaml = parse_plan(yaml.safe_dump(document, default_flow_style=flow, allow_unicode=True).encode())
    assert as_json == as_yaml
    assert [planned.name for planned in as_json.certificates] == [
        *(one["name"] for one in document["spec"]["certificates"]),
        "admin",
    ]
    for planned, one in zip(as_json.certificates, document["spec"]["certificates"], strict=False):
        assert planned.profile.name == one["profile"]
        assert planned.files[-1].mode == int(one.get("keyMode", "0600"), 8)
        assert planned.files[0].owner == one.get("owner")
        assert (planned.hook is not None) == ("hook" in one)
        assert (planned.probe is not None) == ("probe" in one)


@settings(max_examples=25)
@given(
    st.sampled_from(list(BUILT_IN)),
    st.builds(
        Choices,
        cluster=labels,
        node=labels,
        endpoint=labels | addresses,
        addresses=st.lists(addresses, max_size=3, unique=True).map(tuple),
        algorithm=st.sampled_from(EncryptionAlgorithm),
        service_subnet=st.sampled_from([None, "10.0.0.0/16", "fd00::/112"]),
        dns_domain=st.none() | labels,
    ),
)
def test_a_built_in_plan_reads_back_as_it_was_chosen(name: str, choices: Choices) -> None:
    plan = parse_plan(built_in_plan(name, choices).encode())
    assert (plan.cluster, plan.node) == (choices.cluster, choices.node)
    for planned in plan.certificates:
        if planned.name in {"etcd-server", "etcd-peer", "kubelet-serving"}:
            held = {*planned.names.dns_names, *map(str, planned.names.ip_addresses)}
            assert {choices.node, *map(canonical, choices.addresses)} <= held


def canonical(address: str) -> str:
    from trivet.pki.names import parse_ip_address  # noqa: PLC0415  the same spelling as in certificates

    return str(parse_ip_address(address))


BASE = built_in_plan("control-plane", Choices("prod", "cp-1", "api.example", ("10.0.0.10",)))
SMALL = json.dumps(
    yaml.safe_load(built_in_plan("worker", Choices("prod", "w-1", "api.example", ("10.0.0.11",))))
)
PIECES = st.sampled_from(
    ["\n", " ", ":", "- ", "[", "]", "{", "}", "&a ", "*a", "!!int ", "!x ", "'", '"', "\\", "|", ">", "?", "%",
     "\t", "#", "~", "0", "0o9", "\x85", "\ud7ff", "\u2028", "\U0001f600", "null", "<<: ", "---", "...", "\x00", "name"]
)  # fmt: skip


def outcome(text: bytes) -> CertificatePlan | None:
    """The plan, or None where it is refused as it should be."""
    try:
        return parse_plan(text, "plan.yaml")
    except BadPlanError as error:
        refused = error
    breaks = sum(text.count(end.encode()) for end in ("\n", "\r", "\x85", "\u2028", "\u2029"))
    assert refused.faults
    for fault in refused.faults:
        assert 1 <= fault.line <= breaks + 2
        assert fault.column >= 1
        assert f"plan.yaml:{fault.line}:{fault.column}: " in str(refused)
    return None


@settings(max_examples=150)
@given(
    st.lists(
        st.tuples(st.integers(0, len(BASE)), st.integers(0, 30), PIECES | st.text(max_size=3)), max_size=3
    )
)
def test_a_damaged_plan_is_read_or_refused_with_a_line_and_nothing_else(
    edits: list[tuple[int, int, str]],
) -> None:
    text = BASE
    for place, cut, piece in edits:
        text = text[:place] + piece + text[place + cut :]
    outcome(text.encode("utf-8", "surrogatepass"))


@settings(max_examples=200)
@given(
    st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass"))
)
def test_what_is_no_plan_is_refused_with_a_line_and_nothing_else(text: bytes) -> None:
    assert outcome(text) is None


values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=150)
@given(st.data())
def test_a_plan_with_any_value_in_any_place_is_read_or_refused(data: st.DataObject) -> None:
    plan = json.loads(SMALL)
    at: Any = plan
    while True:
        keys = list(at) if isinstance(at, dict) else list(range(len(at)))
        key = data.draw(st.sampled_from(keys))
        if isinstance(at[key], dict | list) and at[key] and data.draw(st.booleans()):
            at = at[key]
            continue
        at[key] = data.draw(values)
        break
    outcome(json.dumps(plan).encode())


@pytest.mark.parametrize("field", ["certificates", "kubeconfigs", "trustBundles"])
def test_a_plan_may_be_as_long_as_is_said_and_no_longer(field: str) -> None:
    item = {
        "certificates": {"profile": "scheduler", "combinedFile": "/{}.pem"},
        "kubeconfigs": {"profile": "scheduler", "file": "/{}.conf"},
        "trustBundles": {"authority": "etcd", "file": "/{}.crt"},
    }[field]
    spec = {"clusterName": "a", "nodeName": "b", "controlPlaneEndpoint": "c"}
    base = {"apiVersion": "trivet.io/v1", "kind": "CertificatePlan", "metadata": {"name": "a"}}

    def plan(count: int) -> bytes:
        items = [
            {key: value.format(number) for key, value in item.items()} | {"name": f"n{number}"}
            for number in range(count)
        ]
        return json.dumps(base | {"spec": spec | {field: items}}).encode()

    assert outcome(plan(200)) is not None
    assert outcome(plan(201)) is None
