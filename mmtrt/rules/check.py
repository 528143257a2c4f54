"""Run every rule over a plan; only what passed can be executed."""

from __future__ import annotations

from dataclasses import dataclass

from mmtrt.errors import HostError, RuleViolation
from mmtrt.plan.graph import Plan
from mmtrt.rules.base import SEVERITIES, Finding
from mmtrt.rules.codes import RULES
from mmtrt.rules.ignores import Silenced, sift


@dataclass(frozen=True, slots=True)
class CheckedPlan:
    """A plan without errors; made by :func:`check_plan` alone."""

    plan: Plan
    findings: tuple[Finding, ...]
    """Warnings and hints that remain."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What the rules have to say, worst first."""

    open: list[Finding]
    """What counts."""
    silenced: list[Silenced]
    """What comments in YAML files silence, each with its reason."""


def find(plan: Plan) -> list[Finding]:
    """Return what every rule has to say and no comment silences, worst first."""
    return find_all(plan).open


def find_all(plan: Plan) -> Findings:
    """Return what every rule has to say."""
    found = [finding for rule in RULES.values() for finding in rule.check(plan)]
    if not found:
        return Findings([], [])
    stays, silenced = sift(plan, found)
    return Findings(
        sorted(stays, key=_rank),
        sorted(silenced, key=lambda each: _rank(each.finding)),
    )


def _rank(finding: Finding) -> tuple[int, str]:
    return SEVERITIES.index(finding.severity), finding.code


def check_plan(plan: Plan) -> CheckedPlan:
    """Return the plan as fit to run.

    Raises:
        RuleViolation: if a rule found an error; every finding is in the message.
        HostError: if nothing is wrong with the plan but this host cannot run it.
    """
    findings = find(plan)
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        raise _raised(RuleViolation, errors)
    lacks = [finding for finding in findings if finding.code.startswith("HST")]
    if lacks:
        raise _raised(HostError, lacks)
    return CheckedPlan(plan, tuple(findings))


def _raised(
    kind: type[RuleViolation] | type[HostError], findings: list[Finding]
) -> RuleViolation | HostError:
    errors = [kind(f.message, code=f.code, at=f.at, why=f.why, fix=f.fix) for f in findings]
    errors[0].also.extend(errors[1:])
    return errors[0]
