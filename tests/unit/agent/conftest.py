"""A live service, for what an agent does with one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.agent_node import COMBINED, KUBECONFIG, PAIR, AgentNode, plan_text
from tests.unit.cli.running import installed, running

from trivet.bootstrap.initialise import Installation

MakeNode = Callable[..., AgentNode]


@pytest.fixture(scope="package")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    installation = installed(tmp_path_factory.mktemp("installation"))
    with running(installation.settings):
        yield installation


@pytest.fixture
def make_node(service: Installation, tmp_path: Path) -> MakeNode:
    """Give a node that was provisioned: by default with a pair, a combined file and a kubeconfig."""

    def make(*certificates: dict[str, Any], **plan: Any) -> AgentNode:  # noqa: ANN401
        plan.setdefault("kubeconfigs", [] if certificates else [KUBECONFIG])
        text = plan_text(list(certificates) or [PAIR, COMBINED], **plan)
        return AgentNode(tmp_path / "node", service, text).provision()

    return make
