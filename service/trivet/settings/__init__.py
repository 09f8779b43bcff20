"""What the operator and the user choose: a TOML file, environment variables, flags; the later is stronger."""

from __future__ import annotations

from trivet.settings.client import ClientSettings
from trivet.settings.errors import SettingsError
from trivet.settings.file import SettingsFile, find_settings_file
from trivet.settings.server import ServerSettings

__all__ = ["ClientSettings", "ServerSettings", "SettingsError", "SettingsFile", "find_settings_file"]
