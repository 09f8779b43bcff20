"""`python -m bench [PART…] [--quick]`: run the parts, print what they find, write it down."""

from __future__ import annotations

import argparse
import importlib
import signal
import sys
import time
import traceback
from dataclasses import replace
from typing import TYPE_CHECKING

from bench import report
from bench.plan import QUICK, WHOLE, Plan

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.figures import Figures

    Part = Callable[[Plan, Callable[[str], None]], Figures]


PARTS = {
    "limit": "bench.limit:measure_limit",
    "service": "bench.issuance:measure_issuance",
    "peers": "bench.peers.measure:measure_peers",
    "check": "bench.check:measure_check",
    "crl": "bench.crl:measure_crl",
    "ocsp": "bench.ocsp:measure_ocsp",
    "authorize": "bench.authorize:measure_authorize",
    "herd": "bench.herd:measure_herd",
    "revoke": "bench.revoke:measure_revoke",
    "fleet": "bench.fleet:measure_fleet",
    "soak": "bench.soak:measure_soak",
}
# A part's figures begin with these names.
_FIGURES = {"service": ("limit", "issue", "renew")}


def main() -> int:
    """Run what was asked for; the exit code says only whether it ran, not whether the bars were reached."""
    # Ended from outside it still ends what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    options = _options()
    plan = _plan(options)
    chosen = options.parts or list(PARTS)
    whole = set(chosen) == set(PARTS) and not _is_narrowed(options)
    figures: Figures = {}
    done = [part for part in chosen if _run(part, plan, figures)]
    beginnings = [name for part in done for name in _FIGURES.get(part, (part,))]
    kept = report.write_latest(figures, beginnings, whole=whole)
    sys.stdout.write("\n".join(report.table({name: kept[name] for name in kept if name in figures})) + "\n")
    if done != chosen:
        _say(f"failed: {', '.join(part for part in chosen if part not in done)}")
        return 1
    if whole and not plan.quick:
        report.write_page(kept, "make bench")
    return 0


def _run(part: str, plan: Plan, figures: Figures) -> bool:
    """Run a part and add its figures; say whether it came to its end."""
    began = time.monotonic()
    _say(f"--- {part}")
    module, _, function = PARTS[part].partition(":")
    try:
        measure: Part = getattr(importlib.import_module(module), function)
        figures |= measure(plan, _say)
    except Exception:  # noqa: BLE001  what one part meets must not cost the others their hour
        _say(traceback.format_exc())
        return False
    _say(f"--- {part}: {time.monotonic() - began:.0f} s")
    return True


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "parts", nargs="*", choices=[*PARTS, []], metavar="PART", help=f"of {', '.join(PARTS)}; all"
    )
    parser.add_argument("--quick", action="store_true", help="the short form: two minutes on two cores")
    narrow = parser.add_argument_group("measure less")
    narrow.add_argument("--database", action="append", choices=WHOLE.databases)
    narrow.add_argument("--engine", action="append", choices=WHOLE.engines)
    narrow.add_argument("--kind", action="append", choices=WHOLE.kinds)
    narrow.add_argument("--connections", action="append", type=int)
    narrow.add_argument("--seconds", type=float)
    narrow.add_argument("--rounds", type=int)
    return parser.parse_args()


def _plan(options: argparse.Namespace) -> Plan:
    wanted = {
        "databases": options.database and tuple(options.database),
        "engines": options.engine and tuple(options.engine),
        "kinds": options.kind and tuple(options.kind),
        "connections": options.connections and tuple(options.connections),
        "seconds": options.seconds,
        "rounds": options.rounds,
    }
    return replace(
        QUICK if options.quick else WHOLE, **{name: value for name, value in wanted.items() if value}
    )


def _is_narrowed(options: argparse.Namespace) -> bool:
    return any(
        (options.database, options.engine, options.kind, options.connections, options.seconds, options.rounds)
    )


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
