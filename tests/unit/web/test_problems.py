from __future__ import annotations

from collections.abc import Iterator

import pytest

import trivet.web.app  # noqa: F401  loads every module that could refuse
from trivet.pki.errors import Refusal
from trivet.web.problems import RENDERINGS, pointer

# Status codes and reasons that the API conventions of Kubernetes pair with each other.
REASONS = {
    400: {"BadRequest"},
    401: {"Unauthorized"},
    403: {"Forbidden"},
    404: {"NotFound"},
    405: {"MethodNotAllowed"},
    406: {"NotAcceptable"},
    408: {"Timeout"},
    409: {"AlreadyExists", "Conflict"},
    412: {"Conflict"},
    413: {"RequestEntityTooLarge"},
    415: {"UnsupportedMediaType"},
    422: {"Invalid"},
    429: {"TooManyRequests"},
    500: {"InternalError"},
    503: {"ServiceUnavailable"},
}


def refusals(root: type[Refusal] = Refusal) -> Iterator[type[Refusal]]:
    yield root
    for kind in root.__subclasses__():
        yield from refusals(kind)


@pytest.mark.parametrize("kind", list(refusals()))
def test_every_refusal_has_an_answer_for_each_front_end(kind: type[Refusal]) -> None:
    rendering = RENDERINGS[kind.slug]
    assert rendering.title
    assert rendering.reason in REASONS[rendering.status]


def test_no_answer_is_left_over() -> None:
    used = {kind.slug for kind in refusals()}
    assert RENDERINGS.keys() - used == {"methodNotAllowed", "internal"}  # which nobody raises as a refusal


def test_a_pointer_is_escaped_and_bounded() -> None:
    assert pointer(()) == ""
    assert pointer(("a/b~c", 0)) == "/a~1b~0c/0"
    assert pointer(("\ud800",)) == "/?"
    assert len(pointer(("x" * 1000,))) == 101
