"""The live service answers as its OpenAPI document says, whoever asks and whatever is asked."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from tests.conformance.live import Known, Live, furnish, serving
from tests.conformance.roles import ROLES, Outcome, may, run

from trivet.bootstrap.document import openapi_document

pytestmark = pytest.mark.slow
DOCUMENT: dict[str, Any] = json.loads(openapi_document())
OPERATIONS = {
    operation["operationId"]: operation for item in DOCUMENT["paths"].values() for operation in item.values()
}


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Live, Known]]:
    with serving(tmp_path_factory.mktemp("conformance")) as service:
        yield service, furnish(service)


@pytest.fixture(scope="module")
def outcome_of(
    live: tuple[Live, Known], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Outcome]:
    """Give each role's run, which is made once."""

    @cache
    def outcome(role: str) -> Outcome:
        folder: Path = tmp_path_factory.mktemp("held")
        return run(role, *live, DOCUMENT, folder)

    return outcome


@pytest.mark.parametrize("role", ROLES)
def test_every_answer_conforms_to_the_document(
    role: str, outcome_of: Callable[[str], Outcome], live: tuple[Live, Known]
) -> None:
    outcome = outcome_of(role)
    assert outcome.findings == {}, "\n\n".join(outcome.findings.values())
    assert set(outcome.answers) == set(OPERATIONS), "every operation was asked"
    assert not [code for answers in outcome.answers.values() for code in answers if code >= 500]
    assert live[0].defects() == []


@pytest.mark.parametrize("role", ROLES)
def test_nothing_is_given_to_a_role_that_may_not_have_it(
    role: str, outcome_of: Callable[[str], Outcome]
) -> None:
    given = outcome_of(role).succeeded
    assert {name for name in given if not may(role, OPERATIONS[name])} == set()


def test_every_operation_was_done_by_somebody(outcome_of: Callable[[str], Outcome]) -> None:
    outcomes = [outcome_of(role) for role in ROLES]
    done = {name for outcome in outcomes for name in outcome.succeeded}
    print(*(f"{outcome.role}: {outcome.requests} requests" for outcome in outcomes), sep="\n")  # noqa: T201
    print(*(f"{name}: {outcome_counts(outcomes, name)}" for name in OPERATIONS), sep="\n")  # noqa: T201
    assert set(OPERATIONS) - done == set()


def outcome_counts(outcomes: list[Outcome], operation: str) -> dict[int, int]:
    """How often an operation answered with each status, all roles together."""
    codes = {code for outcome in outcomes for code in outcome.answers[operation]}
    return {code: sum(outcome.answers[operation][code] for outcome in outcomes) for code in sorted(codes)}
