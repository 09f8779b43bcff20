from __future__ import annotations

import pytest

from trivet.client.errors import LocalError, ProblemError, ProblemFault, UnreachableError
from trivet.signer.asking import FINAL, Refused, weigh
from trivet.signer.work_queue import Later
from trivet.web.problems import RENDERINGS


@pytest.mark.parametrize("slug", list(RENDERINGS))
def test_only_what_is_about_the_request_itself_is_final(slug: str) -> None:
    rendering = RENDERINGS[slug]
    weighed = weigh(ProblemError(slug, rendering.title, rendering.status, "because", retry_after=7.0))
    if slug in FINAL:
        assert weighed == Refused(f"{rendering.title}: because")
        assert rendering.status in {400, 403, 413, 422}
    else:
        assert isinstance(weighed, Later)
        assert (weighed.reason, weighed.told) == (slug, 7.0)


def test_what_trivet_says_of_itself_or_of_the_token_is_never_final() -> None:
    assert FINAL.isdisjoint(
        {"unauthenticated", "unauthorized", "expired", "notFound", "rateLimited", "unavailable", "internal"}
    )
    assert RENDERINGS.keys() >= FINAL


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_while_trivet_is_busy_nothing_is_asked(status: int) -> None:
    weighed = weigh(ProblemError("", "Busy", status, "<html>"))
    assert isinstance(weighed, Later)
    assert weighed.for_all


def test_a_fault_of_trivet_s_with_one_request_holds_up_no_other() -> None:
    weighed = weigh(ProblemError("internal", "Internal error", 500, "x"))
    assert isinstance(weighed, Later)
    assert not weighed.for_all


def test_a_refusal_names_the_places_and_the_decision() -> None:
    faults = (ProblemFault("/csr", "must be signed"),)
    weighed = weigh(ProblemError("badCSR", "Bad CSR", 400, "no", faults, decision="0191"))
    assert weighed == Refused("Bad CSR: no; /csr must be signed (decision 0191)")


def test_a_silence_and_a_missing_file_hold_everything() -> None:
    for error in (UnreachableError("x"), LocalError("no such file")):
        weighed = weigh(error)
        assert isinstance(weighed, Later)
        assert weighed.for_all
