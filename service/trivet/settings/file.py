"""The settings file: where it is looked for, and how strictly it is read."""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from trivet.settings.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

CONFIG_VARIABLE: Final = "TRIVET_CONFIG"
DEFAULT_DIRECTORY: Final = Path(".trivet")
FILE_NAME: Final = "trivet.toml"
TABLES: Final = ("server", "client")
# Three slashes and no fourth: SQLAlchemy takes the rest as a path relative to the working directory.
_RELATIVE_SQLITE = re.compile(r"(sqlite(?:\+\w+)?:///)([^/:][^?]*)(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class SettingsFile:
    """A settings file that was read: its tables, not yet validated. Its repr shows no values."""

    path: Path
    tables: Mapping[str, Mapping[str, Any]] = field(repr=False)

    @classmethod
    def read(cls, path: Path) -> SettingsFile:
        """Read a file.

        Raises:
            SettingsError: it cannot be read, is not TOML, or has something else than the known tables.
        """
        try:
            tables = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            message = f"the settings file {path} cannot be read: {error.strerror}"
            raise SettingsError(message) from error
        except ValueError as error:
            message = f"the settings file {path} is not TOML: {error}"
            raise SettingsError(message) from error
        for name, table in tables.items():
            if name not in TABLES or not isinstance(table, dict):
                message = f"{path}: unknown key {name!r}; settings stand in the tables [server] and [client]"
                raise SettingsError(message)
        return cls(path, tables)

    def table(
        self, name: str, known: Collection[str], secret: Collection[str], paths: Collection[str]
    ) -> dict[str, Any]:
        """Give one table, with its relative paths made relative to the file.

        Args:
            name: of the table.
            known: the keys that it may have.
            secret: those of them that may not stand in a file.
            paths: those of them whose values are paths.

        Raises:
            SettingsError: it has another key.
        """
        values = dict(self.tables.get(name, {}))
        for key in values:
            if key in secret:
                message = (
                    f"{self.path}: [{name}] {key} is a secret, which this file may not hold;"
                    f" name a file in {key}_file, or set TRIVET_{key.upper()}"
                )
                raise SettingsError(message)
            if key not in known:
                raise SettingsError(_unknown(self.path, name, key, set(known) - set(secret)))
        for key in set(paths) & values.keys():
            if isinstance(values[key], str):
                values[key] = str(self._beside(values[key]))
        if isinstance(url := values.get("database_url"), str) and (match := _RELATIVE_SQLITE.fullmatch(url)):
            values["database_url"] = f"{match[1]}{self._beside(match[2])}{match[3]}"
        return values

    def _beside(self, path: str) -> Path:
        return self.path.resolve().parent / Path(path).expanduser()


def _unknown(path: Path, table: str, key: str, known: Collection[str]) -> str:
    close = get_close_matches(key, known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(sorted(known))}"
    return f"{path}: unknown key {key!r} in [{table}]; {hint}"


def find_settings_file(
    named: Path | None = None, environment: Mapping[str, str] = os.environ
) -> SettingsFile | None:
    """Read the file that a flag or $TRIVET_CONFIG names, else the first that is found, if any.

    Raises:
        SettingsError: the named file is missing, or the file is wrong.
    """
    if named is None and environment.get(CONFIG_VARIABLE):
        named = Path(environment[CONFIG_VARIABLE])
    if named is not None:
        return SettingsFile.read(named)
    return next((SettingsFile.read(path) for path in usual_places(environment) if path.is_file()), None)


def usual_places(environment: Mapping[str, str] = os.environ) -> tuple[Path, ...]:
    """Where a settings file is looked for, in this order."""
    home = environment.get("XDG_CONFIG_HOME") or Path(environment.get("HOME", "~")) / ".config"
    return (DEFAULT_DIRECTORY / FILE_NAME, Path(home) / "trivet" / FILE_NAME, Path("/etc/trivet") / FILE_NAME)
