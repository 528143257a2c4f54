"""Composing with Hydra itself.

Hydra and OmegaConf are imported inside of functions only: a cached composition needs neither.
"""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Iterator, Sequence
from functools import cache as memoised
from pathlib import Path
from typing import Any

from mmtrt.config import mistakes
from mmtrt.config.plain import Plain, plain_of

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


def plainly(words: Sequence[str], dirs: Sequence[Path], config_name: str) -> Plain:
    """Compose with Hydra what was looked at.

    Raises:
        RecipeError: in whose words Hydra refused.
    """
    with LOCK, quiet():
        try:
            return hydra_compose(words, dirs, config_name)
        except Exception as err:  # Hydra raises anything; it ends here
            raise mistakes.from_hydra(err, words) from err


def hydra_compose(
    words: Sequence[str], dirs: Sequence[Path], config_name: str, number: int = 0
) -> Plain:
    """Return the composed config without Hydra's node.

    May be called while another Hydra application runs, as in a job of a sweep; ``number`` is that
    job's.
    """
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
            has_searchpath = bool(config.hydra.searchpath)
            swept = config.hydra.sweeper.get("params")
            params = {} if swept is None else OmegaConf.to_container(swept, resolve=True)
            del config["hydra"]
        plain = plain_of(config)
        plain.has_searchpath, plain.params = has_searchpath, params
        return plain
    finally:
        GlobalHydra.instance().hydra = running
        HydraConfig.instance().cfg = outer
