from __future__ import annotations

import pytest

from trivet.pki.errors import MalformedError
from trivet.web.problems import TooLargeError
from trivet.web.rest.documents import MAX_YAML_BYTES, read_document
from trivet.web.rest.negotiation import YAML


def test_a_long_yaml_document_is_refused_before_it_is_read() -> None:
    with pytest.raises(TooLargeError):
        read_document(b"a" * (MAX_YAML_BYTES + 1), YAML)


@pytest.mark.parametrize("text", [b"a: 1\nb: 2\na: 3", b"{a: {b: 1, b: 2}}"])
def test_a_key_that_stands_twice_is_refused_with_its_place(text: bytes) -> None:
    with pytest.raises(MalformedError, match="stands twice at line"):
        read_document(text, YAML)
