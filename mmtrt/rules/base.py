"""What a rule is, and what it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal

from mmtrt.plan.graph import Plan

Severity = Literal["error", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that a rule has to say about a plan."""

    code: str
    severity: Severity
    message: str
    at: str
    """``file:line:column`` of the value, or ``override 'tp=2'``."""
    why: str
    fix: str
    """What to type; it works when pasted."""

    def to_json(self) -> dict[str, str]:
        """Return the shape that ``mmtrt plan --json`` promises."""
        return {
            "code": self.code,
            "severity": self.severity,
            "message": self.message,
            "at": self.at,
            "why": self.why,
            "fix": self.fix,
        }

    def render(self) -> str:
        """Return the finding as the lines a terminal shows."""
        lines = [f"{self.severity}[{self.code}]: {self.message}"]
        parts = (("at", self.at), ("why", self.why), ("fix", self.fix))
        lines += [f"  {label}: {text}" for label, text in parts if text]
        return "\n".join([*lines, f"  more: mmtrt rule {self.code}"])


@dataclass(frozen=True, slots=True)
class Rule:
    """One check with its code and its documentation, which is its module's docstring."""

    code: str
    name: str
    """What it flags: ``unpinned-revision``."""
    check: Callable[[Plan], Iterable[Finding]]
    documentation: str

    def to_json(self) -> dict[str, Any]:
        """Return what ``mmtrt rule CODE --json`` prints."""
        return {"code": self.code, "name": self.name, "documentation": self.documentation}


def rule_of(code: str, module: ModuleType) -> Rule:
    """Return the rule that a module holds: its ``check`` and its docstring."""
    name = module.__name__.rsplit(".", 1)[-1].replace("_", "-")
    return Rule(code, name, module.check, (module.__doc__ or "").strip())
