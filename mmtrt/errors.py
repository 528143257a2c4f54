"""The exceptions a user can meet, each with a code, a place, a reason and a fix.

::

    MmtrtError                  exit 2 unless the class says otherwise
    +-- UsageError              the command line cannot be understood
    +-- RecipeError             a recipe, an override or a file it names is wrong
    +-- PlanError               stages that cannot be put in order
    +-- RuleViolation           the plan breaks at least one rule of severity error
    +-- StageFailed             exit 1: a stage ran and failed
    +-- ArtifactError           exit 1: the store cannot be read or written
    |   +-- ArtifactCorrupt     exit 1: a stored file is not what its manifest says
    +-- GateMissed              exit 3: an accuracy threshold was not reached
    +-- LockStale               exit 4: the lock file no longer describes the plan
    +-- HostError               exit 5: this machine lacks something the plan needs
    +-- Interrupted             exit 130: Ctrl-C or SIGTERM
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar


@dataclass(eq=False)
class MmtrtError(Exception):
    """A mistake or failure that is told to the user without a traceback."""

    message: str
    code: str = "CFG000"
    at: str | None = None
    """Where it was written: ``file:line:column``, or ``override 'tp=x'``."""
    why: str | None = None
    fix: str | None = None
    also: list[MmtrtError] = field(default_factory=list)
    """Further errors found in the same pass; shown after this one."""

    exit_code: ClassVar[int] = 2

    def __post_init__(self) -> None:
        super().__init__(self.message)

    def __str__(self) -> str:
        return self.render()

    def render(self) -> str:
        """Return the message as the lines a terminal shows."""
        lines = [f"error[{self.code}]: {self.message}"]
        lines += [
            f"  {label}: {text}"
            for label, text in (("at", self.at), ("why", self.why), ("fix", self.fix))
            if text
        ]
        return "\n".join(["\n".join(lines), *(other.render() for other in self.also)])


class UsageError(MmtrtError):
    """The command line cannot be understood."""


class RecipeError(MmtrtError):
    """A recipe, an override, or a file that one of them names is wrong."""


class PlanError(MmtrtError):
    """The stages of a recipe cannot be put in order."""


class RuleViolation(MmtrtError):
    """The plan breaks at least one rule of severity error."""


class StageFailed(MmtrtError):
    """A stage ran and failed."""

    exit_code: ClassVar[int] = 1


class ArtifactError(MmtrtError):
    """The store cannot be read or written."""

    exit_code: ClassVar[int] = 1


class ArtifactCorrupt(ArtifactError):
    """A stored file is not what its manifest says."""


class GateMissed(MmtrtError):
    """An accuracy threshold was not reached."""

    exit_code: ClassVar[int] = 3


class LockStale(MmtrtError):
    """The lock file no longer describes the plan."""

    exit_code: ClassVar[int] = 4


class HostError(MmtrtError):
    """This machine lacks something that the plan needs."""

    exit_code: ClassVar[int] = 5


class Interrupted(MmtrtError):
    """The run was stopped by Ctrl-C or SIGTERM."""

    exit_code: ClassVar[int] = 130
