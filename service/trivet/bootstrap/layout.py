"""Where an installation has its files, and what its settings file says at first."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from trivet.settings import SettingsError
from trivet.settings.file import FILE_NAME


@dataclass(frozen=True, slots=True)
class Choices:
    """What `trivet init` is asked to make.

    Attributes:
        directory: of the installation.
        url: under which clients on this machine reach the service.
        server: members of the table [server].
        cluster: a first cluster; None for none.
        token: whether a first administrator's access token is wanted.
    """

    directory: Path
    url: str
    server: dict[str, object]
    cluster: str | None
    token: bool = True


@dataclass(frozen=True, slots=True)
class Layout:
    """The files of an installation."""

    directory: Path

    @property
    def settings(self) -> Path:
        """The settings file."""
        return self.directory / FILE_NAME

    @property
    def key_encryption_key(self) -> Path:
        """The secret under which all private keys are stored; never in the data folder."""
        return self.directory / "keys" / "key-encryption.key"

    @property
    def database(self) -> Path:
        """The SQLite database."""
        return self.directory / "data" / "trivet.db"

    @property
    def service_ca(self) -> Path:
        """What clients trust."""
        return self.directory / "client" / "service-ca.crt"

    @property
    def admin_token(self) -> Path:
        """The first administrator's access token."""
        return self.directory / "client" / "admin.token"

    @property
    def first_steps(self) -> Path:
        """Where the files of the first steps go."""
        return self.directory / "first-steps"

    def directories(self) -> tuple[Path, ...]:
        """Every folder that must be there."""
        files = (self.settings, self.key_encryption_key, self.database, self.service_ca)
        return (*(file.parent for file in files), self.first_steps)


_TEMPLATE = """\
# Settings of Trivet. Relative paths start from this file. An environment variable (TRIVET_PORT) is stronger
# than this file, and a flag (--port) is stronger than both.

[server]
{server}

[client]
{client}
"""


def settings_text(choices: Choices) -> str:
    """The settings file of a new installation."""
    layout = Layout(Path())
    server: dict[str, object] = {
        "database_url": f"sqlite:///{layout.database}",
        "key_encryption_key_file": str(layout.key_encryption_key),
        **choices.server,
    }
    client: dict[str, object] = {
        "url": choices.url,
        "ca_file": str(layout.service_ca),
        "token_file": str(layout.admin_token),
    }
    if choices.cluster is not None:
        client["cluster"] = choices.cluster
    return _TEMPLATE.format(server=_members(server), client=_members(client))


def _members(table: dict[str, object]) -> str:
    for key, value in table.items():
        if not str(value).isprintable():
            message = f"{key}: must not hold control characters"
            raise SettingsError(message)
    # What JSON writes for text, numbers and lists of text is TOML as well.
    return "\n".join(f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in table.items())
