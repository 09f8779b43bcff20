from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tests.unit.pki.samples import dn, private_key, signing_request

from trivet.bootstrap.composition import build_authority, build_engine, check_startable
from trivet.bootstrap.errors import StartError
from trivet.settings import ServerSettings
from trivet.signing.aws_lc import AwsLcEngine
from trivet.signing.engine import CRYPTOGRAPHY

KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


def _settings(**changes: object) -> ServerSettings:
    settings = {"database_url": "sqlite:////nowhere/trivet.db", "key_encryption_key": KEY}
    return ServerSettings.model_validate(settings | changes)


@pytest.fixture
def _without_awscrt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "trivet.signing.aws_lc", raising=False)
    monkeypatch.setitem(sys.modules, "awscrt", None)
    monkeypatch.setitem(sys.modules, "awscrt.crypto", None)


def test_cryptography_verifies_and_signs_unless_told_otherwise() -> None:
    assert build_engine(_settings()) is CRYPTOGRAPHY


def test_aws_lc_verifies_and_signs_where_the_operator_wants_it() -> None:
    authority = build_authority(_settings(engine="aws-lc"))
    assert isinstance(authority.engine, AwsLcEngine)
    key = private_key("P-384")
    request = signing_request(dn("jane"), key=key)
    assert authority.engine.is_self_signed(request, key.public_key(), b"")
    authority.database.dispose()


@pytest.mark.usefixtures("_without_awscrt")
def test_the_default_needs_no_extra_package() -> None:
    authority = build_authority(_settings())
    assert authority.engine is CRYPTOGRAPHY
    authority.database.dispose()


@pytest.mark.usefixtures("_without_awscrt")
def test_a_missing_package_is_told_with_the_way_out(tmp_path: Path) -> None:
    settings = _settings(engine="aws-lc", database_url=f"sqlite:///{tmp_path / 'trivet.db'}")
    for start in (build_engine, build_authority, check_startable):
        with pytest.raises(StartError, match=r"pip install 'trivet\[server,fast\]'"):
            start(settings)
    assert not list(tmp_path.iterdir())
