"""The proof over REST: a stream of lines for those who may read the audit trail."""

from __future__ import annotations

import json

from tests.unit.web.service import Service


def test_the_proof_is_a_stream_of_lines(service: Service) -> None:
    answer = service.ask("GET", "audit-export", 200)
    assert answer.headers["content-type"].startswith("application/jsonl")
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert (lines[0]["type"], lines[-1]["type"]) == ("export", "end")
    assert lines[0]["cluster"] is None
    of_one = service.ask("GET", "audit-export?cluster=blue&since=2020-01-01T00:00:00Z", 200)
    assert json.loads(of_one.text.splitlines()[0])["cluster"] is not None


def test_what_is_wrong_is_a_problem_and_no_broken_stream(service: Service) -> None:
    service.ask("GET", "audit-export?cluster=none", 404)
    service.ask("GET", "audit-export?since=yesterday", 422)
    service.ask("GET", "audit-export", 401, as_role=None)
