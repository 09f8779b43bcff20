"""Bootstrap tokens in Kubernetes' format: a public id and a secret that let one new node in.

Source: Kubernetes' `staging/src/k8s.io/cluster-bootstrap/token` (`api/types.go`, `util/helpers.go`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from trivet.pki.errors import Fault, InvalidError

if TYPE_CHECKING:
    from collections.abc import Sequence

FORM: Final = "[a-z0-9]{6}.[a-z0-9]{16}"
DEFAULT_GROUP: Final = "system:bootstrappers"
MAX_GROUPS: Final = 16

# [0-9], not \d: other digits than ASCII's are not Kubernetes'. fullmatch, as $ lets a line feed pass.
_TOKEN = re.compile(r"([a-z0-9]{6})\.([a-z0-9]{16})")
_GROUP = re.compile(rf"{DEFAULT_GROUP}:[a-z0-9:-]{{0,255}}[a-z0-9]")


class BootstrapUsage(StrEnum):
    """What a token is for: to sign the public cluster-info, to authenticate, or both."""

    SIGNING = "signing"
    AUTHENTICATION = "authentication"


@dataclass(frozen=True, slots=True)
class BootstrapToken:
    """A token as its bearer sends it; only the id may be shown."""

    id: str
    secret: str = field(repr=False)


def parse_bootstrap_token(text: str) -> BootstrapToken | None:
    """Read a token, or None if the text has another form. Nothing of the text is ever repeated."""
    match = _TOKEN.fullmatch(text)
    return BootstrapToken(match[1], match[2]) if match else None


def check_groups(groups: Sequence[str]) -> tuple[str, ...]:
    """The groups, without repetitions: `system:bootstrappers` or something below it, and no other.

    Raises:
        InvalidError: a group has another form (it would make a node out of a stranger), or there are too many.
    """
    if len(groups) > MAX_GROUPS:
        message = f"a token has at most {MAX_GROUPS} groups"
        raise InvalidError(message, Fault("/groups", message))
    faults = [
        Fault(f"/groups/{number}", f"a group is {DEFAULT_GROUP} or {DEFAULT_GROUP}:NAME of a-z, 0-9, : and -")
        for number, group in enumerate(groups)
        if group != DEFAULT_GROUP and not _GROUP.fullmatch(group)
    ]
    if faults:
        raise InvalidError(faults[0].message, *faults)
    return tuple(dict.fromkeys(groups))
