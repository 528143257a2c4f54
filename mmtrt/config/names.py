"""Names that someone may have meant, and names in a sentence."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence


def nearest(name: str, names: Iterable[str], count: int = 3, cutoff: float = 0.6) -> list[str]:
    """Return the names that someone may have meant, best first.

    The same last part (``batch_size`` for ``run.batch_size``) counts before a similar spelling.
    """
    names = list(names)
    tail = name.rsplit(".", 1)[-1].lower()
    same_tail = [n for n in names if n.rsplit(".", 1)[-1].lower() == tail and n != name]
    if same_tail:
        return sorted(same_tail, key=lambda n: -_likeness(name, n))[:count]
    by_lower: dict[str, str] = {}
    for each in names:
        by_lower.setdefault(each.lower(), each)
    close = difflib.get_close_matches(name.lower(), by_lower, count, cutoff)
    if not close:
        tails: dict[str, list[str]] = {}
        for each in names:
            tails.setdefault(each.rsplit(".", 1)[-1].lower(), []).append(each)
        close_tails = difflib.get_close_matches(tail, tails, count, 0.7)
        # A part of a name, such as awq of int4_awq.
        close_tails = close_tails or [each for each in tails if tail in re.split(r"[_-]", each)]
        return [n for t in close_tails for n in tails[t]][:count]
    return [by_lower[c] for c in close]


def _likeness(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one, other).ratio()


def listed(words: str, names: Sequence[str]) -> str | None:
    """Return a sentence that ends in a list of names, ``None`` for no names."""
    return f"{words} {', '.join(names)}" if names else None
