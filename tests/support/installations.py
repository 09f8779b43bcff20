"""Installations of their own over a database that a test chooses, as `trivet` on the server itself works with them."""

from __future__ import annotations

import base64
from pathlib import Path

from tests.support.clock import Clock
from tests.support.world import KEY_ENCRYPTION_KEY, World, make_authority, prepare_database

from trivet.settings import ServerSettings

KEY_TEXT = base64.b64encode(bytes(range(32))).decode()  # of KEY_ENCRYPTION_KEY


def settings_for(url: str, key: str = KEY_TEXT) -> ServerSettings:
    """Give the settings of a service over that database."""
    return ServerSettings.load(None, database_url=url, key_encryption_key=key)


def world_over(url: str, clock: Clock) -> World:
    """Give a world over a database that is installed."""
    return World(make_authority(url, clock, key_encryption_key=KEY_ENCRYPTION_KEY), clock)


def new_world(url: str, clock: Clock) -> World:
    """Give a world with the cluster `blue` over an empty database."""
    prepare_database(url, clock)
    world = world_over(url, clock)
    world.make_cluster("blue")
    return world


def place_of(url: str) -> Path:
    """Give the file of an SQLite database."""
    return Path(url.removeprefix("sqlite:///"))
