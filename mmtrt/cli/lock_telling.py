"""What ``mmtrt lock`` tells of the entries that it has written."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmtrt.pins.entry import Entry
    from mmtrt.pins.renew import Renewed


def say(text: str) -> None:
    """Print a line that is no result."""
    print(text, file=sys.stderr)


def tell(
    title: str,
    renewed: Renewed,
    rows: Sequence[tuple[Entry | None, Entry | None, Sequence[Any]]],
    *,
    is_new: bool,
) -> None:
    """Tell what became of one recipe and variant.

    Args:
        title: the lock file.
        renewed: what it says now.
        rows: as :func:`mmtrt.pins.renew.compared` returns them.
        is_new: whether it said nothing of it before.
    """
    name, count = renewed.name, len(renewed.entries)
    if not count:
        say(f"Removed {name} from {title}")
        return
    if is_new:
        head = f"Locked {name} in {title}"
        if count == 1:
            say(f"{head}: {_contents(renewed.entries[0])}")
            return
        say(f"{head}, {count} cases:")
    elif any(old is None or new is None or told for old, new, told in rows):
        say(f"Updated {name} in {title}")
    else:
        say(f"Nothing changed for {name} in {title}")
        return
    for old, new, told in rows:
        if old is None or new is None:
            case = new or old
            assert case is not None
            say(f" {'-' if new is None else '+'} {_title(case)}: {_contents(case)}")
        elif told:
            if count > 1:
                say(f" {_title(new)}:")
            for row in told:
                say(f" {row.text()}")


def _title(entry: Entry) -> str:
    """Return what people call one of several entries: the first choice that it was made for."""
    from mmtrt.config.overrides import key_of
    from mmtrt.pins.cases import line_of

    lines = [
        line_of([word for word in words if key_of(word) not in ("recipe", "variant")])
        for words in entry.choices()
    ]
    more = f" and {len(lines) - 1} more" if len(lines) > 1 else ""
    return f"{lines[0] or 'no overrides'}{more}"


def _contents(entry: Entry) -> str:
    parts = [
        f"{len(pins)} {word}{'s' * (len(pins) != 1)}"
        for word, pins in (
            ("download", entry.downloads),
            ("clone", entry.clones),
            ("environment", entry.environments),
            ("local model", entry.local),
            ("patch", entry.patches),
            ("tool", entry.tools),
        )
        if pins
    ]
    return ", ".join([f"backend {entry.backend.name}, engine {entry.backend.engine}", *parts])
