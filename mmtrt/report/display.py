"""A run as it happens, on standard error: live on a terminal, one line an event elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, TextIO

from mmtrt.executor import events
from mmtrt.executor.tails import last_progress
from mmtrt.report.colors import paint, wants_color
from mmtrt.report.units import duration_text, size_text

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console, RenderableType
    from rich.live import Live


class Display:
    """One line an event; nothing moves, so it suits logs and CI."""

    def __init__(self, stream: TextIO, stages: list[str], quiet: bool = False) -> None:
        """Write to ``stream``; ``quiet`` leaves only failures."""
        self._stream, self._quiet = stream, quiet
        self._color = wants_color(stream)
        self._width = max(map(len, stages), default=0)

    def listen(self, event: events.Event) -> None:
        """Show one event."""
        for line in self._lines(event):
            self._print(line)

    def close(self) -> None:
        """End the display."""

    def _print(self, line: str) -> None:
        self._stream.write(line + "\n")
        self._stream.flush()

    def _lines(self, event: events.Event) -> list[str]:
        if isinstance(event, events.StageBroke):
            return self._failure(event)
        if self._quiet:
            return []
        if isinstance(event, events.StageHit):
            return [self._line("=", event.stage, "green", f"in the store  {event.key[:8]}")]
        if isinstance(event, events.StageStarted):
            again = f" (attempt {event.attempt})" if event.attempt > 1 else ""
            return [self._line(">", event.stage, "blue", f"started{again}")]
        if isinstance(event, events.StageDone):
            note = f"done in {duration_text(event.seconds)}, {size_text(event.size_bytes)}"
            return [self._line("+", event.stage, "green", note)]
        if isinstance(event, events.StageBeats):
            return [self._line(".", event.stage, "dim", _beat(event))]
        if isinstance(event, events.StageWaits):
            return [self._line("~", event.stage, "yellow", f"waits: {event.for_what}")]
        if isinstance(event, events.StageRetries):
            note = f"network failure; attempt {event.attempt + 1} in {event.wait_s:g} s"
            return [self._line("~", event.stage, "yellow", note)]
        if isinstance(event, events.StageLeft):
            return [self._line("-", event.stage, "dim", f"not started: {event.because}")]
        return []

    def _line(self, sign: str, stage: str, color: str, note: str) -> str:
        return f"  {paint(f'{sign} {stage:<{self._width}}', color, self._color)}  {note}"

    def _failure(self, event: events.StageBroke) -> list[str]:
        lines = [self._line("x", event.stage, "red", f"failed: {event.status}")]
        lines += [f"      | {line}" for line in event.last_lines]
        lines += [f"      log:    {event.log}", f"      repeat: {event.repeat}"]
        return lines


class LiveDisplay(Display):
    """Stages that run are shown with a spinner and the time; finished ones stay as lines above."""

    def __init__(self, stream: TextIO, stages: list[str]) -> None:
        """Draw on a terminal; rich is imported when the first stage really runs."""
        super().__init__(stream, stages)
        self._running: dict[str, tuple[float, Path]] = {}
        self._console: Console | None = None
        self._live: Live | None = None

    def listen(self, event: events.Event) -> None:
        """Show one event."""
        if isinstance(event, events.StageStarted):
            from pathlib import Path

            self._running[event.stage] = (time.monotonic(), Path(event.log))
            self._begin()
            return
        if isinstance(event, (events.StageDone, events.StageBroke, events.StageRetries)):
            self._running.pop(event.stage, None)
        if isinstance(event, events.StageBeats):
            return
        super().listen(event)
        if isinstance(event, events.RunEnded):
            self.close()

    def close(self) -> None:
        """Take the moving part off the screen."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _begin(self) -> None:
        if self._live is not None:
            return
        from rich.console import Console
        from rich.live import Live

        self._console = Console(file=self._stream, highlight=False)
        self._live = Live(
            get_renderable=self._table,
            console=self._console,
            transient=True,
            refresh_per_second=8,
        )
        self._live.start()

    def _print(self, line: str) -> None:
        if self._live is not None and self._console is not None:
            from rich.text import Text

            self._console.print(Text.from_ansi(line), soft_wrap=True)
        else:
            super()._print(line)

    def _table(self) -> RenderableType:
        from rich.spinner import Spinner
        from rich.table import Table

        table = Table.grid(padding=(0, 1))
        for stage, (began, log) in list(self._running.items()):
            done, total = last_progress(log)
            note = duration_text(time.monotonic() - began)
            if done is not None and total:
                note += f"  {size_text(done)} of {size_text(total)}"
            table.add_row(" ", Spinner("dots"), f"{stage:<{self._width}}", note)
        return table


def make_display(stages: list[str], quiet: bool = False) -> Display:
    """Return the display that suits standard error."""
    import os

    stream = sys.stderr
    if quiet or not stream.isatty() or os.environ.get("CI") or os.environ.get("TERM") == "dumb":
        return Display(stream, stages, quiet)
    return LiveDisplay(stream, stages)


def _beat(event: events.StageBeats) -> str:
    note = f"{duration_text(event.seconds)} so far"
    if event.done_bytes is not None and event.total_bytes:
        note += f", {size_text(event.done_bytes)} of {size_text(event.total_bytes)}"
    return f"{note}  {event.last_line}".rstrip()
