"""Composing with Hydra itself.

Hydra and OmegaConf are imported inside of functions only: most compositions need neither.
"""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache as memoised
from pathlib import Path
from typing import Any

from mmtrt.config import mistakes, typed

LOCK = threading.RLock()  # Hydra keeps its state in singletons


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep Hydra's and OmegaConf's warnings, deprecations among them, from users."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def version_base() -> dict[str, str]:
    """Return the argument that Hydra 1.3 wants and 1.4 deprecates."""
    import hydra

    major, minor = (int(part) for part in hydra.__version__.split(".")[:2])
    return {"version_base": "1.3"} if (major, minor) < (1, 4) else {}


_searched: list[Path] = []
"""What :func:`searching` adds to Hydra's search path just now."""


@memoised
def _register_search_path() -> None:
    """Let Hydra ask us for directories.

    A plugin and not ``hydra.searchpath``, which would have to be quoted by the grammar of
    overrides and would take the place of what the user gives there.
    """
    from hydra.core.plugins import Plugins
    from hydra.plugins.search_path_plugin import SearchPathPlugin

    class MmtrtSearchPath(SearchPathPlugin):  # type: ignore[misc]  # Hydra is not type-checked
        """Appends the directories that hold recipes."""

        def manipulate_search_path(self, search_path: Any) -> None:
            for each in _searched:
                search_path.append("mmtrt", f"file://{each}")

    Plugins.instance().register(MmtrtSearchPath)


@contextlib.contextmanager
def searching(dirs: Sequence[Path]) -> Iterator[None]:
    """Let whatever Hydra application starts inside search these directories too."""
    _register_search_path()
    before = list(_searched)
    _searched[:] = dirs
    try:
        yield
    finally:
        _searched[:] = before


@dataclass
class Plain:
    """A composed config as plain data."""

    data: Any
    missing: list[typed.KeyPath] = field(default_factory=list)
    """Values that are still ``???``."""
    unresolved: list[tuple[typed.KeyPath, str]] = field(default_factory=list)
    """Interpolations that lead nowhere, with the reason."""
    raw: Any = None
    """The same before interpolations were resolved."""
    params: dict[str, Any] = field(default_factory=dict)
    """What ``hydra.sweeper.params`` says: the points of a named sweep."""


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


def resolved(data: Any, words: Sequence[str]) -> Plain:
    """Return data with its interpolations resolved by OmegaConf.

    Raises:
        RecipeError: in whose words OmegaConf refused; one of ``words`` may be to blame.
    """
    from omegaconf import OmegaConf

    with quiet():
        try:
            return _plain_of(OmegaConf.create(data))
        except Exception as err:  # OmegaConf raises anything; it ends here
            raise mistakes.from_hydra(err, words) from err


def _plain_of(config: Any) -> Plain:
    """Return a config of OmegaConf as plain data, with what could not be resolved."""
    from omegaconf import OmegaConf

    raw = OmegaConf.to_container(config, resolve=False)
    result = Plain(raw, raw=raw)
    for path, text in texts(raw):
        if "${" in text and (reason := _resolution_error(config, path)) is not None:
            result.unresolved.append((path, reason))
    if not result.unresolved:
        result.data = OmegaConf.to_container(config, resolve=True)
    result.missing = [path for path, text in texts(result.data) if text == "???"]
    return result


def _resolution_error(config: Any, path: typed.KeyPath) -> str | None:
    try:
        node = config
        for part in path:
            node = node[part]
    except Exception as err:  # noqa: BLE001 - a resolver may raise anything; it ends here
        return mistakes.first_line(err)
    return None


def by_hydra(
    words: Sequence[str],
    dirs: Sequence[Path],
    config_name: str,
    told: Sequence[str],
    number: int = 0,
) -> Plain:
    """Return what Hydra composes, without Hydra's node.

    May be called while another Hydra application runs, as in a job of a sweep.

    Args:
        words: overrides as Hydra takes them.
        dirs: every directory that may hold recipes.
        config_name: the primary config.
        told: the overrides as typed, for messages.
        number: of the point, for ``${hydra:job.num}``.

    Raises:
        RecipeError: in whose words Hydra refused.
    """
    with LOCK, quiet():
        try:
            return _composed(words, dirs, config_name, number)
        except Exception as err:  # Hydra raises anything; it ends here
            raise mistakes.from_hydra(err, told) from err


def _composed(words: Sequence[str], dirs: Sequence[Path], config_name: str, number: int) -> Plain:
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf, open_dict, read_write

    running, GlobalHydra.instance().hydra = GlobalHydra.instance().hydra, None
    outer = HydraConfig.instance().cfg
    try:
        with (
            searching(dirs[1:]),
            initialize_config_dir(str(dirs[0]), job_name="mmtrt", **version_base()),
        ):
            config = compose(config_name, list(words), return_hydra_config=True)
        with read_write(config), open_dict(config):
            config.hydra.job.num, config.hydra.job.id = number, str(number)
            HydraConfig.instance().set_config(config)  # for ${hydra:...}
            swept = config.hydra.sweeper.get("params")
            params = {} if swept is None else OmegaConf.to_container(swept, resolve=True)
            del config["hydra"]
        plain = _plain_of(config)
        plain.params = params
        return plain
    finally:
        GlobalHydra.instance().hydra = running
        HydraConfig.instance().cfg = outer
