from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.clock import Clock
from tests.support.world import World, make_authority, prepare_database


@pytest.fixture(scope="session")
def prepared_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give an SQLite file with Trivet installed and the cluster `blue` made, to be copied."""
    path = tmp_path_factory.mktemp("authority") / "trivet.db"
    clock = Clock()
    prepare_database(f"sqlite:///{path}", clock)
    world = World(make_authority(f"sqlite:///{path}", clock), clock)
    world.make_cluster("blue")
    world.authority.database.dispose()
    return path


@pytest.fixture
def database_file(prepared_file: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(prepared_file, tmp_path))


@pytest.fixture
def world(database_file: Path) -> Iterator[World]:
    clock = Clock()
    world = World(make_authority(f"sqlite:///{database_file}", clock), clock)
    yield world
    world.authority.database.dispose()
