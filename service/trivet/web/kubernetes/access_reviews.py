"""SubjectAccessReviews of authorization.k8s.io/v1: what is read of one, and what is answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from trivet.authority.review import NO_OPINION, Verdict
from trivet.pki.fingerprints import DIGEST_BYTES
from trivet.web.kubernetes.identity import CREDENTIAL_ID, X509_CREDENTIAL
from trivet.web.kubernetes.status import bad_request

if TYPE_CHECKING:
    from collections.abc import Sequence

_KIND: Final = {"kind": "SubjectAccessReview", "apiVersion": "authorization.k8s.io/v1"}
_NO_OPINION: Final = orjson.dumps({**_KIND, "status": {"allowed": False}})


def presented_in(body: bytes) -> Sequence[bytes]:
    """The fingerprints of the client certificates that a review says a request came with.

    Raises:
        StatusError: it is no review of version v1.
    """
    try:
        document = orjson.loads(body)
    except ValueError as error:
        raise bad_request(f"the body is no JSON: {str(error)[:200]}") from error
    if not isinstance(document, dict) or any(document.get(key) != value for key, value in _KIND.items()):
        message = (
            "the body must be a SubjectAccessReview of authorization.k8s.io/v1; set subjectAccessReviewVersion: v1 in"
            " the AuthorizationConfiguration"
        )
        raise bad_request(message)
    extra = _member(_member(document, "spec", "/spec"), "extra", "/spec/extra")
    found = extra.get(CREDENTIAL_ID)
    if found is None:
        return ()
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise bad_request(f"/spec/extra/{CREDENTIAL_ID.replace('/', '~1')} must be a list of strings")
    return [digest for text in found if (digest := _digest_of(text)) is not None]


def _member(document: dict[str, Any], name: str, pointer: str) -> dict[str, Any]:
    value = document.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise bad_request(f"{pointer} must be an object")
    return value


def _digest_of(text: str) -> bytes | None:
    """The fingerprint that a credential id tells; None for one of another kind: a token's, say."""
    if not text.startswith(X509_CREDENTIAL):
        return None
    try:
        digest = bytes.fromhex(text.removeprefix(X509_CREDENTIAL))
    except ValueError:
        return None
    return digest if len(digest) == DIGEST_BYTES else None


def rendered(verdict: Verdict) -> bytes:
    """The review with its status; what was asked need not be said again."""
    if verdict is NO_OPINION:
        return _NO_OPINION
    status: dict[str, Any] = {"allowed": False}
    status |= {"denied": True} if verdict.denied else {}
    status |= {"reason": verdict.reason} if verdict.reason else {}
    status |= {"evaluationError": verdict.error} if verdict.error else {}
    return orjson.dumps({**_KIND, "status": status})
