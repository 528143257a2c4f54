"""Counts calls: how much work something is, whatever else the machine does meanwhile."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable


def calls_of(work: Callable[[], object]) -> Counter[str]:
    """Return how often each function was called, by its bare name; C functions count too.

    Tests of speed belong to ``benchmarks/``: a count does not depend on the load.
    """
    counts: Counter[str] = Counter()

    def note(frame: object, event: str, arg: object) -> None:
        if event == "call":
            counts[frame.f_code.co_name] += 1  # type: ignore[attr-defined]
        elif event == "c_call":
            counts[getattr(arg, "__name__", "?")] += 1

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(before)
    return counts
