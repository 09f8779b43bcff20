"""Runs a reader on thousands of damaged inputs: it may accept or refuse, in time, and do nothing else."""

from __future__ import annotations

import base64
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from random import Random
from typing import Final

from trivet.pki.errors import Refusal

SEED: Final = int(os.environ.get("TRIVET_FUZZ_SEED", "1"))
TIMES: Final = int(os.environ.get("TRIVET_FUZZ_TIMES", "1"))
"""How many times the usual number of inputs; 1 is what every run of the tests tries."""

ACCEPTED: Final = "accepted"
LONGEST: Final = 1.0  # seconds of this thread's own, for an input of at most 64 KiB
LARGEST: Final = 64 * 1024

Make = Callable[[Random], bytes]
Read = Callable[[bytes], object]


def damaged_inputs(name: str, count: int, make: Make) -> Iterator[tuple[int, bytes]]:
    """Give inputs by their numbers; each depends on the seed, the name and its number alone."""
    for number in range(count * TIMES):
        yield number, make(generator(name, number))[:LARGEST]


def generator(name: str, number: int) -> Random:
    """Whatever the input of that number is made from."""
    return Random(f"{SEED}:{name}:{number}")  # noqa: S311  it makes tests, not keys


def run(name: str, count: int, make: Make, read: Read) -> Counter[str]:
    """Read every input, and count what came of it by the slugs of refusals."""
    tally: Counter[str] = Counter()
    for number, body in damaged_inputs(name, count, make):
        started = time.thread_time()
        try:
            outcome = outcome_of(read, body)
        except Exception as error:
            error.add_note(shown(name, number, body))
            raise
        taken = time.thread_time() - started
        assert taken < LONGEST, f"took {taken:.2f} s: {shown(name, number, body)}"
        tally[outcome] += 1
    print(f"{name}: {tally.total()} inputs, {dict(tally.most_common())}")  # noqa: T201  the report of a run
    return tally


def outcome_of(read: Read, body: bytes) -> str:
    """Read one input: `accepted`, or the slug of its refusal; anything else that is raised is a finding."""
    try:
        read(body)
    except Refusal as refusal:
        refusal.detail.encode()  # it can be sent
        return refusal.slug
    return ACCEPTED


def shown(name: str, number: int, body: bytes) -> str:
    """What is needed to see it again."""
    return f"TRIVET_FUZZ_SEED={SEED} {name} {number}: {base64.b64encode(body[:4096]).decode()}"
