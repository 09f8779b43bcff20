"""What can be wrong with settings."""

from __future__ import annotations


class SettingsError(Exception):
    """A setting is missing, unknown or wrong; the message names it, its origin and what is accepted."""
