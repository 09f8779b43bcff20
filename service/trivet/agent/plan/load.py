"""A plan from its YAML."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trivet.agent.plan.build import Builder
from trivet.agent.plan.document import read_document
from trivet.agent.plan.errors import BadPlanError
from trivet.agent.plan.forms import PlanReader
from trivet.agent.plan.table import PLAN

if TYPE_CHECKING:
    from pathlib import Path

    from trivet.agent.plan.model import CertificatePlan


def load_plan(path: Path) -> CertificatePlan:
    """Read a plan from a file.

    Raises:
        BadPlanError: every fault at once, each with its line.
        OSError: the file cannot be read.
    """
    return parse_plan(path.read_bytes(), str(path))


def parse_plan(text: bytes, source: str = "plan") -> CertificatePlan:
    """Read a plan from its YAML (or JSON).

    Raises:
        BadPlanError: every fault at once, each with its line.
    """
    document = read_document(text, source)
    reader = PlanReader()
    read = PLAN.read(reader, document.value, "")
    # What belongs together is judged even if something else is wrong: as many faults as can be told at once.
    plan = Builder(reader).plan(read) if read is not None else None
    faults = [*document.faults, *(document.fault(fault.pointer, fault.message) for fault in reader.faults)]
    if faults or plan is None:
        raise BadPlanError(source, faults)
    return plan
