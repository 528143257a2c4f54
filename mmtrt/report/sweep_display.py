"""A sweep as it happens: the display of a run, with each node told by the points that it is for."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from mmtrt.executor import events
from mmtrt.report.display import Display, make_display


class SweepDisplay:
    """Hands events on under longer names.

    What the store has and what is not started is left out: with a thousand points that would bury
    everything else, and the table says it.
    """

    def __init__(self, titles: Mapping[str, str], quiet: bool = False) -> None:
        """Show nodes by their titles; ``quiet`` leaves only failures."""
        self._titles = titles
        width = max((len(title) for title in titles.values()), default=0)
        self._display: Display = make_display(["x" * min(width, 60)], quiet)

    def listen(self, event: events.Event) -> None:
        """Show one event."""
        if isinstance(event, (events.StageHit, events.StageLeft)):
            return
        stage = getattr(event, "stage", None)
        if stage is not None:
            event = dataclasses.replace(event, stage=self._titles.get(stage, stage))  # type: ignore[call-arg] # it has one
        self._display.listen(event)

    def close(self) -> None:
        """End the display."""
        self._display.close()
