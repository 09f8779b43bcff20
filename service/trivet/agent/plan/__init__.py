"""Plans: which keys, certificates, kubeconfigs and trust bundles a node holds.

    plan = load_plan(Path("plan.yaml"))
    plan.certificates, plan.kubeconfigs, plan.trust_bundles, plan.service_account

The format is `CertificatePlan` (`trivet.io/v1`); docs/plans.md describes every field.
"""

from __future__ import annotations

from trivet.agent.plan.errors import BadPlanError, PlanFault
from trivet.agent.plan.load import load_plan, parse_plan
from trivet.agent.plan.model import CertificatePlan, PlannedCertificate

__all__ = ["BadPlanError", "CertificatePlan", "PlanFault", "PlannedCertificate", "load_plan", "parse_plan"]
