"""What happens during a run, as values; displays, logs and reports listen to them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened."""

    type: ClassVar[str] = "event"

    def to_json(self) -> dict[str, Any]:
        """Return the event as one line of ``events.jsonl``, without its time."""
        return {"type": self.type, **asdict(self)}


@dataclass(frozen=True, slots=True)
class RunStarted(Event):
    """The loop begins; ``stages`` are the ids in plan order."""

    stages: list[str]
    type: ClassVar[str] = "run_started"


@dataclass(frozen=True, slots=True)
class StageHit(Event):
    """The store has the output already."""

    stage: str
    kind: str
    key: str
    artifact: str
    type: ClassVar[str] = "stage_hit"


@dataclass(frozen=True, slots=True)
class StageWaits(Event):
    """Another process builds the same key, or a resource is taken."""

    stage: str
    for_what: str
    type: ClassVar[str] = "stage_waits"


@dataclass(frozen=True, slots=True)
class StageStarted(Event):
    """A process was started."""

    stage: str
    kind: str
    key: str
    argv: list[str]
    log: str
    """Path of the process's standard error while it runs."""
    attempt: int = 1
    reasons: list[dict[str, Any]] = field(default_factory=list)
    type: ClassVar[str] = "stage_started"


@dataclass(frozen=True, slots=True)
class StageBeats(Event):
    """A long stage is alive."""

    stage: str
    seconds: float
    last_line: str = ""
    done_bytes: int | None = None
    total_bytes: int | None = None
    type: ClassVar[str] = "stage_beats"


@dataclass(frozen=True, slots=True)
class StageRetries(Event):
    """A network stage failed in a way that trying again may cure."""

    stage: str
    attempt: int
    wait_s: float
    type: ClassVar[str] = "stage_retries"


@dataclass(frozen=True, slots=True)
class StageDone(Event):
    """A stage's output was published."""

    stage: str
    kind: str
    key: str
    seconds: float
    artifact: str
    size_bytes: int
    peak_rss_bytes: int
    type: ClassVar[str] = "stage_done"


@dataclass(frozen=True, slots=True)
class StageBroke(Event):
    """A stage ran and failed."""

    stage: str
    kind: str
    seconds: float
    status: str
    """``exit status 1``, ``killed by SIGKILL``, ``timed out after 60 s``..."""
    last_lines: list[str]
    log: str
    repeat: str
    """A command line that runs the stage again, for a shell."""
    type: ClassVar[str] = "stage_failed"


@dataclass(frozen=True, slots=True)
class StageLeft(Event):
    """A stage was not started because one before it failed or the run was stopped."""

    stage: str
    because: str
    type: ClassVar[str] = "stage_left"


@dataclass(frozen=True, slots=True)
class RunEnded(Event):
    """The loop has ended."""

    status: str
    """``done``, ``failed`` or ``interrupted``."""
    seconds: float
    type: ClassVar[str] = "run_ended"


Listener = Callable[[Event], None]
