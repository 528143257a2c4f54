"""Findings in the formats of code review tools."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from mmtrt import __version__
from mmtrt.rules.base import Finding
from mmtrt.rules.codes import RULES
from mmtrt.rules.ignores import Silenced

LEVELS = {"error": "error", "warning": "warning", "info": "note"}
"""Severity -> level of SARIF."""


def to_github(findings: Sequence[Finding]) -> str:
    """Return GitHub workflow commands, one a line.

    Source: GitHub Actions documentation, "Workflow commands", with its escapes.
    """
    return "\n".join(_github(finding) for finding in findings)


def to_sarif(findings: Sequence[Finding], silenced: Sequence[Silenced] = ()) -> dict[str, Any]:
    """Return a SARIF 2.1.0 log; what a comment silences is in it, as suppressed."""
    used = sorted({finding.code for finding in (*findings, *(each.finding for each in silenced))})
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "mmtrt",
                        "version": __version__,
                        "rules": [_sarif_rule(code) for code in used],
                    }
                },
                "results": [
                    *(_sarif_result(finding) for finding in findings),
                    *(
                        {
                            **_sarif_result(each.finding),
                            "suppressions": [{"kind": "inSource", "justification": each.reason}],
                        }
                        for each in silenced
                    ),
                ],
            }
        ],
    }


def _sarif_rule(code: str) -> dict[str, Any]:
    if code not in RULES:  # about a comment
        return {"id": code}
    rule = RULES[code]
    text = rule.documentation.splitlines()[0]
    return {"id": code, "name": rule.name, "shortDescription": {"text": text}}


def _sarif_result(finding: Finding) -> dict[str, Any]:
    return {
        "ruleId": finding.code,
        "level": LEVELS[finding.severity],
        "message": {"text": f"{finding.message}. {finding.why}. Fix: {finding.fix}"},
        "locations": _sarif_places(finding),
    }


def _github(finding: Finding) -> str:
    kind = {"error": "error", "warning": "warning", "info": "notice"}[finding.severity]
    place = _place(finding)
    where = f"file={place[0]},line={place[1]},col={place[2]}," if place else ""
    text = f"{finding.message}\n{finding.why}\nfix: {finding.fix}"
    escaped = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return f"::{kind} {where}title={finding.code}::{escaped}"


def _sarif_places(finding: Finding) -> list[dict[str, Any]]:
    place = _place(finding)
    if place is None:
        return []
    region = {"startLine": place[1], "startColumn": place[2]}
    return [{"physicalLocation": {"artifactLocation": {"uri": place[0]}, "region": region}}]


def _place(finding: Finding) -> tuple[str, int, int] | None:
    found = re.fullmatch(r"(.+):(\d+):(\d+)", finding.at)
    return (found[1], int(found[2]), int(found[3])) if found else None
