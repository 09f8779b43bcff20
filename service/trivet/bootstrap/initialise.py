"""Make an installation that is ready to serve; a second time, find it and leave it as it is."""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import TYPE_CHECKING

from trivet.authority.access import Role
from trivet.authority.authenticate import authenticate_token
from trivet.authority.create import create_cluster
from trivet.authority.install import OPERATOR, install, service_certificate
from trivet.authority.tokens import create_token
from trivet.bootstrap.composition import build_authority, opened, reaching, shown_url, sqlite_file
from trivet.bootstrap.errors import StartError
from trivet.bootstrap.files import PUBLIC, make_directory, read_secret, write_new
from trivet.bootstrap.layout import Layout, settings_text
from trivet.bootstrap.schema import bring_up_to_date
from trivet.pki.errors import AuthenticationError
from trivet.pki.names import DnsName
from trivet.pki.pem import from_der, to_pem
from trivet.pki.subjects import ClusterNames
from trivet.settings import ServerSettings, SettingsFile
from trivet.signing.encryption import KEY_BYTES, WrongKeyError
from trivet.store import clusters, installation
from trivet.store.migrate import current_revision

if TYPE_CHECKING:
    from trivet.authority.context import Authority
    from trivet.bootstrap.layout import Choices
    from trivet.store.engine import Database


@dataclass(slots=True)
class Installation:
    """What stands after `initialise`.

    Attributes:
        layout: where its files are.
        settings: of the service.
        made: what was made now, for people to read; empty where all was there.
        has_new_settings: whether the settings file was made now.
        warnings: what is there but will not work.
        cluster: the first cluster, as the settings name it.
    """

    layout: Layout
    settings: ServerSettings
    made: list[str] = field(default_factory=list)
    has_new_settings: bool = False
    warnings: list[str] = field(default_factory=list)
    cluster: str | None = None


def initialise(choices: Choices) -> Installation:
    """Make what is missing: folders, settings, key-encryption key, schema, service authority, token, cluster.

    Keys, tokens and stored objects that are there are never written over.

    Raises:
        StartError: the database cannot be used, or holds keys whose key-encryption key is gone or another.
        SettingsError: the settings file that is there is wrong.
    """
    layout = Layout(choices.directory)
    for directory in layout.directories():
        make_directory(directory)
    is_new = not layout.settings.exists()
    if is_new:
        write_new(layout.settings, settings_text(choices).encode())
    file = SettingsFile.read(layout.settings)
    found = Installation(layout, ServerSettings.load(file), has_new_settings=is_new)
    found.cluster = file.tables.get("client", {}).get("cluster")
    if is_new:
        found.made.append(f"settings: {layout.settings}")
    with reaching(found.settings):
        _make_key(found)
        _make_database(found, has_token=choices.token)
    return found


def _make_key(found: Installation) -> None:
    path = found.settings.key_encryption_key_file
    if found.settings.key_encryption_key is not None or path is None or path.exists():
        return
    if _is_installed(found.settings):
        message = (
            f"the database {shown_url(found.settings)} holds private keys, but the key that they are"
            f" encrypted under, {path}, is gone; put it back from your backup."
            " Without it those keys are lost: to begin anew, move the database away as well"
        )
        raise StartError(message)
    write_new(path, base64.b64encode(secrets.token_bytes(KEY_BYTES)) + b"\n")
    found.made.append(
        f"key-encryption key: {path} (outside the data folder; keep a copy elsewhere, for without it"
        " every private key in the database is lost)"
    )


def _is_installed(settings: ServerSettings) -> bool:
    file = sqlite_file(settings)
    if file is not None and not file.exists():
        return False
    with opened(settings) as database:
        if current_revision(database) is None:
            return False
        with database.read() as connection:
            return installation.key_check(connection) is not None


def _make_database(found: Installation, *, has_token: bool) -> None:
    authority = build_authority(found.settings)
    try:
        _migrate(found, authority.database)
        if install(authority):
            found.made.append("the service authority, which signs the HTTPS certificate of `trivet serve`")
        _make_service_ca(found, authority)
        if has_token:
            _make_token(found, authority)
        _make_cluster(found, authority)
    except WrongKeyError as error:
        raise StartError(str(error)) from error
    finally:
        authority.database.dispose()


def _migrate(found: Installation, database: Database) -> None:
    before, newest = bring_up_to_date(database)
    if before != newest:
        found.made.append(f"database: {shown_url(found.settings)}, schema {newest}")


def _make_service_ca(found: Installation, authority: Authority) -> None:
    pem = to_pem([from_der(service_certificate(authority))])
    path = found.layout.service_ca
    if path.exists() and path.read_bytes() == pem:
        return
    # Not a secret, and only a copy: the database has the original.
    path.unlink(missing_ok=True)
    write_new(path, pem, PUBLIC)
    found.made.append(f"certificate of the service authority, which clients trust: {path}")


def _make_token(found: Installation, authority: Authority) -> None:
    path = found.layout.admin_token
    if path.exists():
        _check_token(found, authority)
        return
    _, secret = create_token(authority, OPERATOR, role=Role.ADMIN, description="first administrator")
    write_new(path, secret.encode() + b"\n")
    found.made.append(f"access token of an administrator: {path}")


def _check_token(found: Installation, authority: Authority) -> None:
    path = found.layout.admin_token
    try:
        authenticate_token(authority, read_secret(path))
    except AuthenticationError as error:
        found.warnings.append(f"{path}: {error}. To get a new one, move it away and run `trivet init` again")


def _make_cluster(found: Installation, authority: Authority) -> None:
    if found.cluster is None:
        return
    with authority.database.read() as connection:
        if clusters.page(connection, None, None, 1):
            return
    names = ClusterNames(DnsName("localhost"), ip_network("10.96.0.0/12"), DnsName("cluster.local"))
    create_cluster(authority, OPERATOR, found.cluster, names)
    found.made.append(f"cluster {found.cluster}, with its three authorities: cluster, etcd, front-proxy")
