from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from tests.support.api_server import ApiServer, api_server
from tests.support.clock import Clock
from tests.unit.cli.running import installed, running

from trivet.agent.journal import Journal
from trivet.bootstrap.initialise import Installation
from trivet.client import Client, Endpoint
from trivet.pki.kubernetes import PROFILES
from trivet.signer.composition import compose
from trivet.signer.record import Record
from trivet.signer.runner import Signer

SIGNER_NAMES = {profile.signer_name: profile for profile in PROFILES.values() if profile.signer_name}


@pytest.fixture(scope="session")
def trivet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Give a real Trivet over HTTPS, with a cluster `demo`."""
    installation = installed(tmp_path_factory.mktemp("trivet"))
    with running(installation.settings):
        yield installation


@pytest.fixture(scope="session")
def admin(trivet: Installation) -> Endpoint:
    token = trivet.layout.admin_token.read_text().strip()
    return Endpoint(f"https://127.0.0.1:{trivet.settings.port}", trivet.layout.service_ca, token)


_numbers = iter(range(1_000))


@dataclass
class Bench:
    """A signer between a cluster of its own in Trivet and a cluster's API server; its steady clock is the test's."""

    api: ApiServer
    admin: Endpoint
    cluster: str
    endpoint: Endpoint
    kubeconfig: Path
    out: StringIO = field(default_factory=StringIO)
    clock: Clock = field(default_factory=Clock)
    steady: float = 1_000.0
    shown: str = ""
    made: list[Signer] = field(default_factory=list)

    def signer(self, *, mirrors: bool = True, **profiles: Any) -> Signer:  # noqa: ANN401
        def publish(text: str) -> None:
            self.shown = text

        signer = compose(
            lambda: self.endpoint,
            self.kubeconfig,
            profiles or SIGNER_NAMES,
            Journal("trivet-signer", self.out, self.clock),
            {"cluster": self.cluster, "version": "0"},
            publish,
            mirrors=mirrors,
            steady=lambda: self.steady,
        )
        self.made.append(signer)
        return signer

    def run(self, **options: Any) -> bool:  # noqa: ANN401
        """Let a new signer, which knows nothing, do what is due."""
        return self.signer(**options).run_once()

    def log(self, event: str | None = None) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.out.getvalue().splitlines()]
        return [line for line in lines if event in {None, line["event"]}]

    def trivet(self) -> Client:
        return Client(self.admin)

    def away(self) -> None:
        """Ask a Trivet that is not there."""
        self.endpoint = replace(self.endpoint, url="https://127.0.0.1:1")


def recorded() -> Record:
    """A log in memory."""
    return Record(Journal("trivet-signer", StringIO(), Clock()))


@pytest.fixture
def api(tmp_path: Path) -> Iterator[ApiServer]:
    with api_server(tmp_path) as api:
        yield api


@pytest.fixture
def bench(admin: Endpoint, api: ApiServer) -> Iterator[Bench]:
    name = f"living-{next(_numbers)}"
    with Client(admin) as trivet:
        trivet.clusters.create(name, endpoint=f"api.{name}.example")
        secret = trivet.tokens.create("signer", cluster=name)["secret"]
    bench = Bench(api, admin, name, replace(admin, token=secret), api.kubeconfig())
    yield bench
    for signer in bench.made:
        signer.close()
