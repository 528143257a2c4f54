"""A composed config as plain data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from mmtrt.config import mistakes, typed


@dataclass
class Plain:
    """A composed config as plain data."""

    data: Any
    missing: list[typed.KeyPath] = field(default_factory=list)
    """Values that are still ``???``."""
    unresolved: list[tuple[typed.KeyPath, str]] = field(default_factory=list)
    """Interpolations that lead nowhere, with the reason."""
    texts: list[str] = field(default_factory=list)
    """Values that hold interpolations, as written."""
    has_searchpath: bool = False
    """Whether files took part that lie outside of mmtrt's and the user's directories."""
    raw: Any = None
    """The same before interpolations were resolved."""
    params: dict[str, Any] = field(default_factory=dict)
    """What ``hydra.sweeper.params`` says: the points of a named sweep."""


def plain_of(config: Any) -> Plain:
    """Return a config of OmegaConf as plain data, with what could not be resolved."""
    from omegaconf import OmegaConf

    raw = OmegaConf.to_container(config, resolve=False)
    result = Plain(raw, raw=raw)
    for path, text in texts(raw):
        if "${" in text:
            result.texts.append(text)
            reason = _resolution_error(config, path)
            if reason is not None:
                result.unresolved.append((path, reason))
    if not result.unresolved:
        result.data = OmegaConf.to_container(config, resolve=True)
    result.missing = [path for path, text in texts(result.data) if text == "???"]
    return result


def texts(value: Any, path: typed.KeyPath = ()) -> Iterator[tuple[typed.KeyPath, str]]:
    """Yield every text in plain data with its key path."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from texts(inner, (*path, key))
    elif isinstance(value, (list, tuple)):
        for index, inner in enumerate(value):
            yield from texts(inner, (*path, index))


def _resolution_error(config: Any, path: typed.KeyPath) -> str | None:
    try:
        node = config
        for part in path:
            node = node[part]
    except Exception as err:  # noqa: BLE001 - a resolver may raise anything; it ends here
        return mistakes.first_line(err)
    return None
