"""What docs/kube-apiserver.md tells an API server to do agrees with what the endpoint wants."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from trivet.authority.context import ReviewPolicy
from trivet.authority.review import REVIEWER_PROFILE
from trivet.settings import ServerSettings
from trivet.web.kubernetes import authorize
from trivet.web.kubernetes.access_reviews import presented_in
from trivet.web.kubernetes.identity import CREDENTIAL_ID, X509_CREDENTIAL

DOCS = Path(__file__).parents[4] / "docs"
PAGE = (DOCS / "kube-apiserver.md").read_text()
CONFIGURATION: dict[str, Any] = yaml.safe_load(
    (DOCS / "examples/authorization-configuration.yaml").read_text()
)
KUBECONFIG: dict[str, Any] = yaml.safe_load((DOCS / "examples/trivet-authorize.conf").read_text())


def test_the_page_shows_the_examples_as_they_are() -> None:
    shown = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]
    assert shown == [CONFIGURATION, KUBECONFIG]


def test_the_webhook_is_asked_first_and_others_decide_after_it() -> None:
    assert (CONFIGURATION["apiVersion"], CONFIGURATION["kind"]) == (
        "apiserver.config.k8s.io/v1",
        "AuthorizationConfiguration",
    )
    assert [authorizer["type"] for authorizer in CONFIGURATION["authorizers"]] == ["Webhook", "Node", "RBAC"]


def test_the_webhook_has_all_that_kube_apiserver_demands_and_keeps_answers_for_a_second() -> None:
    webhook = CONFIGURATION["authorizers"][0]["webhook"]
    assert (
        webhook["subjectAccessReviewVersion"] == webhook["matchConditionSubjectAccessReviewVersion"] == "v1"
    )
    assert webhook["failurePolicy"] in {"NoOpinion", "Deny"}
    assert webhook["connectionInfo"] == {
        "type": "KubeConfigFile",
        "kubeConfigFile": "/etc/kubernetes/trivet-authorize.conf",
    }
    # Within two seconds: what Trivet's view and kube-apiserver's cache may be old together.
    assert ReviewPolicy().fresh.total_seconds() + int(webhook["unauthorizedTTL"].removesuffix("s")) <= 2
    assert int(webhook["timeout"].removesuffix("s")) <= 30


def test_the_condition_lets_through_what_the_endpoint_looks_at() -> None:
    (condition,) = CONFIGURATION["authorizers"][0]["webhook"]["matchConditions"]
    names = re.findall(r"'([^']+)'", condition["expression"])
    assert names == [CREDENTIAL_ID, CREDENTIAL_ID, X509_CREDENTIAL]
    review = b'{"kind":"SubjectAccessReview","apiVersion":"authorization.k8s.io/v1","spec":{"extra":{"%b":["%b%b"]}}}'
    filled = review % (CREDENTIAL_ID.encode(), X509_CREDENTIAL.encode(), b"ab" * 32)
    assert presented_in(filled) == [bytes.fromhex("ab" * 32)]


def test_the_kubeconfig_leads_to_the_endpoint_with_a_certificate_that_may_ask() -> None:
    cluster, user = KUBECONFIG["clusters"][0]["cluster"], KUBECONFIG["users"][0]["user"]
    url = urlsplit(cluster["server"])
    assert url.scheme == "https"
    assert authorize._PATH.fullmatch(url.path)
    for member, ending in (("client-certificate", ".crt"), ("client-key", ".key")):
        assert Path(user[member]).name == REVIEWER_PROFILE + ending
    context = KUBECONFIG["contexts"][0]
    assert KUBECONFIG["current-context"] == context["name"]
    assert context["context"] == {
        "cluster": KUBECONFIG["clusters"][0]["name"],
        "user": KUBECONFIG["users"][0]["name"],
    }


def test_the_page_tells_the_settings_as_they_are() -> None:
    for name in ("authorize_fresh_seconds", "authorize_stale_seconds", "authorize_when_stale"):
        default = ServerSettings.model_fields[name].default
        assert re.search(
            rf"\| `{name}` \| `?{default:g}`? "
            if name != "authorize_when_stale"
            else rf"\| `{name}` \| `{default}` ",
            PAGE,
        )
