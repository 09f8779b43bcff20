from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.clock import Clock
from tests.support.world import World, make_authority, prepare_database
from tests.unit.web.service import Service, service_over


@pytest.fixture(scope="session")
def two_clusters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give an SQLite file with Trivet installed and the clusters `blue` and `red` made, to be copied."""
    path = tmp_path_factory.mktemp("web") / "trivet.db"
    clock = Clock()
    prepare_database(f"sqlite:///{path}", clock)
    world = World(make_authority(f"sqlite:///{path}", clock), clock)
    world.make_cluster("blue")
    world.make_cluster("red")
    world.authority.database.dispose()
    return path


@pytest.fixture
def world(two_clusters: Path, tmp_path: Path) -> Iterator[World]:
    clock = Clock()
    world = World(make_authority(f"sqlite:///{shutil.copy(two_clusters, tmp_path)}", clock), clock)
    yield world
    world.authority.database.dispose()


@pytest.fixture
def service(world: World) -> Iterator[Service]:
    with service_over(world) as service:
        yield service


@pytest.fixture
def postgres_service(postgres_database: str) -> Iterator[Service]:
    """Give the same on PostgreSQL, which is stricter with what it is sent."""
    clock = Clock()
    prepare_database(postgres_database, clock)
    world = World(make_authority(postgres_database, clock), clock)
    world.make_cluster("blue")
    with service_over(world) as service:
        yield service
    world.authority.database.dispose()
