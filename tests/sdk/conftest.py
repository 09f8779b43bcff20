from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.support.served import Served, serving, set_up


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service as `make run` serves, with the cluster `demo`, and another cluster."""
    service = set_up(tmp_path_factory.mktemp("served"))
    with serving(service, "--workers", "1"):
        service.make_cluster("smoke")
        yield service
