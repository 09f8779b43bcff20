"""Many watches of one resource, a hundred changes a second, and a process killed in between.

    python -m bench.watches [--watchers 500] [--rate 100] [--seconds 120] [--database sqlite] [--form partial]

`trivet serve` with a worker a core. This process makes the changes, as another Trivet over the same database would;
processes of their own watch. Every watcher sees every change, so the versions that it is told must follow one another
without a gap or a repetition, also across the connection that broke when a worker was killed.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import secrets
import signal
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import psutil

from bench.databases import Postgres, sqlite_place
from bench.requests import pool
from bench.scratch import fresh_folder
from bench.service import Service
from bench.watchers import FORMS, Audience, watch_all
from trivet.authority.approval import observe
from trivet.authority.approval.relabel import Relabelling, relabel_request
from trivet.authority.approval.submission import Submission
from trivet.authority.approval.submit import submit_request
from trivet.authority.context import Authority
from trivet.authority.install import OPERATOR
from trivet.signing.encryption import KeyEncryptionKey
from trivet.signing.file import Keyring
from trivet.store.engine import Database

if TYPE_CHECKING:
    from bench.databases import Place

_CLUSTER: Final = "demo"
_OBJECTS: Final = 50
_MOST_OF_A_PROCESS: Final = 250
_PATIENCE: Final = 60.0
_LOOKS_EVERY: Final = 10.0  # seconds


def main() -> int:
    """Run it on one database; the exit code says whether every watcher saw every change once."""
    parser = argparse.ArgumentParser(prog="python -m bench.watches")
    parser.add_argument("--watchers", type=int, default=500)
    parser.add_argument("--rate", type=int, default=100)
    parser.add_argument("--seconds", type=int, default=120)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--form", choices=tuple(FORMS), default="partial")
    parser.add_argument("--no-kill", action="store_true", help="let every worker live")
    options = parser.parse_args()
    if options.database == "sqlite":
        return _run(options, sqlite_place(fresh_folder("watches")))
    with Postgres("watches-pg") as server:
        return _run(options, server.make("watches"))


def _run(options: argparse.Namespace, place: Place) -> int:
    settings = {"TRIVET_RATE_PER_SECOND": "100000", "TRIVET_BURST": "100000"}
    with Service("watches-service", place, settings=settings) as service:
        writer = _writer(place.url)
        names = [_submit(writer, number) for number in range(_OBJECTS)]
        began_at = observe.view(writer, OPERATOR, _CLUSTER).version
        processes = -(-options.watchers // _MOST_OF_A_PROCESS)
        spawning = multiprocessing.get_context("spawn")
        last, ready, told = spawning.Value("q", 0), spawning.Value("q", 0), spawning.Queue()
        audience = Audience(
            service.port,
            service.ca_file,
            service.token,
            began_at,
            options.watchers // processes,
            options.form,
        )
        watching = [
            spawning.Process(target=watch_all, args=(audience, last, ready, told), daemon=True)
            for _ in range(processes)
        ]
        for process in watching:
            process.start()
        while ready.value < audience.watchers * processes:
            time.sleep(0.2)
        memory, made = _write(writer, names, options, service)
        last.value = observe.view(writer, OPERATOR, _CLUSTER).version
        tallies = [told.get(timeout=_PATIENCE) for _ in watching]
        for process in watching:
            process.join(_PATIENCE)
        writer.database.dispose()
    return _report(options, tallies, memory, made * audience.watchers * processes)


def _writer(url: str) -> Authority:
    """Another Trivet over the same database. What it does takes no key, so it has another."""
    key = KeyEncryptionKey(secrets.token_bytes(32))
    return Authority(Database(url), Keyring(key), key, lambda: datetime.now(UTC), secrets.randbits)


def _submit(writer: Authority, number: int) -> str:
    wanted = Submission("etcd-peer", pool(1)[0].pem, pool(1)[0].node, name=f"watched-{number}")
    return submit_request(writer, OPERATOR, _CLUSTER, wanted).name


def _write(
    writer: Authority, names: list[str], options: argparse.Namespace, service: Service
) -> tuple[list[float], int]:
    """Change one after the other, at the rate; kill a worker at half time; look at the memory of all."""
    memory, made, killed = [_memory(service)], 0, options.no_kill
    began = looked = time.monotonic()
    while (now := time.monotonic()) < began + options.seconds:
        if now < (due := began + made / options.rate):
            time.sleep(due - now)
        wanted = Relabelling(annotations={"at": f"{time.time():.4f}", "number": str(made)})
        relabel_request(writer, OPERATOR, _CLUSTER, names[made % len(names)], wanted)
        made += 1
        if not killed and now > began + options.seconds / 2:
            os.kill(psutil.Process(service.pid).children()[-1].pid, signal.SIGKILL)
            killed = True
        if now > looked + _LOOKS_EVERY:
            looked, memory = now, [*memory, _memory(service)]
    _say(f"{made} changes in {options.seconds} s: {made / options.seconds:.0f} a second")
    return [*memory, _memory(service)], made


def _memory(service: Service) -> float:
    """MiB of all the service's processes."""
    processes = psutil.Process(service.pid).children(recursive=True)
    return sum(process.memory_info().rss for process in processes if process.is_running()) / 2**20


def _report(
    options: argparse.Namespace, tallies: list[dict[str, float]], memory: list[float], wanted: int
) -> int:
    counts = {
        key: sum(tally[key] for tally in tallies) for key in tallies[0] if key not in {"median", "worst"}
    }
    latency = [(tally["median"], tally["worst"]) for tally in tallies]
    _say(json.dumps({"database": options.database, "form": options.form, **counts}))
    _say(f"latency: median {max(m for m, _ in latency):.2f} s, worst {max(w for _, w in latency):.2f} s")
    _say(f"memory of the service, MiB, every 10 s: {', '.join(f'{each:.0f}' for each in memory)}")
    is_whole = counts["events"] + counts["skipped"] == wanted and not counts["gaps"] and not counts["repeats"]
    _say(f"{'every' if is_whole else 'NOT every'} watcher saw every change once, in order ({wanted} in all)")
    return 0 if is_whole else 1


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
