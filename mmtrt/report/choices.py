"""What tells the points of a sweep apart, and short names for some of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mmtrt.config.overrides import is_hydra, key_of, shell, value_of

MANY = 3
"""Points that are named one by one; of more, these and a count (*chosen*)."""


def choices_of(overrides: Iterable[str]) -> dict[str, Any]:
    """Return key -> value of a point's overrides; a key that is taken away is ``~key``."""
    found: dict[str, Any] = {}
    for word in overrides:
        if is_hydra(word):
            continue
        if word.startswith("~"):
            found[f"~{key_of(word)}"] = None
        else:
            found[key_of(word)] = _read(value_of(word))
    return found


def _read(text: str) -> Any:
    """Return a number, truth value or null as such, and everything else as it was written."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if value is None or isinstance(value, (bool, int, float)) else text


def spoken(value: Any) -> str:
    """Return a value as the command line has it."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


class Choices:
    """The points of one sweep by what was chosen for each."""

    def __init__(self, points: Mapping[str, Sequence[str]]) -> None:
        """Take the overrides of every point by its id, in order."""
        self.by_point = {name: choices_of(words) for name, words in points.items()}
        keys = dict.fromkeys(key for each in self.by_point.values() for key in each)
        self._having: dict[str, dict[str, set[str]]] = {key: {} for key in keys}
        """Key -> value in words -> points; a point without the key is under the empty text."""
        for name, chosen in self.by_point.items():
            for key in keys:
                value = spoken(chosen[key]) if key in chosen else ""
                self._having[key].setdefault(value, set()).add(name)
        self.varied = tuple(key for key in keys if len(self._having[key]) > 1)
        """Keys whose value is not the same everywhere."""

    def label(self, name: str) -> str:
        """Return the overrides that tell one point from the others."""
        chosen = self.by_point[name]
        words = [shell(f"{key}={spoken(chosen[key])}") for key in self.varied if key in chosen]
        return " ".join(words) or f"point {name}"

    def shortly(self, names: Sequence[str]) -> str:
        """Return which points are meant, in as few words as that takes.

        All points with ``quant=int4_wo`` are called just that; points that no such choice makes up
        are named one by one, the first few of them.
        """
        total = len(self.by_point)
        if len(names) == total:
            return "every point" if total > 1 else "the point"
        if len(names) == 1:
            return self.label(names[0])
        sought, meant, words = set(names), set(self.by_point), []
        for key in self.varied:
            having = self._having[key]
            values = [value for value, points in having.items() if points & sought]
            if len(values) < len(having) and "" not in values:
                words.append(shell(f"{key}={','.join(values)}"))
                meant &= set().union(*(having[value] for value in values))
        if words and meant == sought:
            return f"{' '.join(words)} ({len(names)} points)"
        shown = "; ".join(self.label(name) for name in names[:MANY])
        rest = len(names) - MANY
        return f"{shown}; {rest} more" if rest > 0 else shown
