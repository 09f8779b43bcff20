"""How long everything is measured: the whole, or the short form."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Attributes:
        quick: the short form: figures that show that all works, not what to quote.
        rounds: how often contenders take turns.
        seconds: of one measurement; `limit_seconds` of one of the limit; `warm_up` before each.
        connections: numbers of connections.
        kinds: "issue", "renew".
        databases: which of them.
        engines: who signs.
        entries: numbers of revocation entries that the check is measured with.
        herd: simulated nodes.
        live, past: certificates in the fleet's database.
        soak_seconds: length of the soak.
        requests: distinct CSRs.
        revoked: live certificates that are revoked.
    """

    quick: bool = False
    rounds: int = 5
    seconds: float = 6.0
    limit_seconds: float = 4.0
    warm_up: float = 1.5
    connections: tuple[int, ...] = (1, 16, 64)
    kinds: tuple[str, ...] = ("issue", "renew")
    databases: tuple[str, ...] = ("sqlite", "postgresql")
    engines: tuple[str, ...] = ("cryptography", "aws-lc")
    entries: tuple[int, ...] = (0, 1_000, 100_000, 1_000_000)
    herd: int = 20_000
    live: int = 1_000_000
    past: int = 5_000_000
    soak_seconds: float = 600.0
    requests: int = 4096
    revoked: int = 100_000


WHOLE = Plan()
QUICK = replace(
    WHOLE,
    quick=True,
    rounds=1,
    seconds=0.8,
    limit_seconds=0.6,
    warm_up=0.2,
    connections=(1, 64),
    entries=(1_000,),
    herd=500,
    live=20_000,
    past=100_000,
    soak_seconds=5.0,
    requests=1024,
    revoked=2_000,
)
