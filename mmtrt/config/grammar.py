"""Overrides read by Hydra's grammar."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mmtrt.config import mistakes
from mmtrt.config.hydra_compose import LOCK, quiet, searching, version_base
from mmtrt.config.overrides import Action, Parsed, plain
from mmtrt.errors import RecipeError


def parse(words: Sequence[str]) -> tuple[list[Parsed], list[RecipeError]]:
    """Parse overrides by Hydra's grammar; the good ones and what is wrong with the others."""
    easy = [plain(text) for text in words]
    if all(easy):
        return [each for each in easy if each is not None], []
    with quiet():
        from hydra.core.override_parser.overrides_parser import OverridesParser

        parser = OverridesParser.create()
        found: list[Parsed] = []
        problems: list[RecipeError] = []

        def parses(text: str) -> bool:
            try:
                parser.parse_overrides([text])
            except Exception:  # noqa: BLE001 - as below
                return False
            return True

        for text in words:
            try:
                override = parser.parse_overrides([text])[0]
                is_sweep = bool(override.is_sweep_override())
                action = _ACTIONS.get(override.type.name, "other")
                value = None if is_sweep else override.value()
                parsed = Parsed(
                    text, override.key_or_group, override.package, action, value, is_sweep
                )
            except Exception as err:  # noqa: BLE001 - the parser raises anything; it ends here
                problems.append(mistakes.bad_syntax(text, err, parses))
                continue
            if parsed.key:
                found.append(parsed)
            else:
                problems.append(mistakes.bad_syntax(text, ValueError("no key"), parses))
    return found, problems


def points(words: Sequence[str], dirs: Sequence[Path] = ()) -> list[tuple[str, ...]] | None:
    """Return the overrides of every point of a sweep, in the order in which Hydra runs them.

    Args:
        words: overrides with choices, ranges and globs; of two for one key the later counts.
        dirs: where the files lie that ``glob(*)`` chooses from.

    ``None`` where only another sweeper can tell, as for ``interval(0,1)``. What cannot be parsed is
    left as it is. Equal points are one.
    """
    lists: dict[str, list[str]] = {}
    with LOCK, quiet(), _loader(words, dirs) as loader:
        from hydra.core.override_parser.overrides_parser import OverridesParser

        parser = OverridesParser.create(config_loader=loader)
        for text in words:
            try:
                override = parser.parse_overrides([text])[0]
                key = str(override.get_key_element())
            except Exception:  # noqa: BLE001 - told, with the reason, when the point is composed
                lists[text] = [text]
                continue
            if not override.is_sweep_override():
                lists[key] = [text]
                continue
            try:
                values = list(override.sweep_string_iterator())
            except Exception:  # noqa: BLE001 - not a list of values
                return None
            lists[key] = [f"{key}={value}" for value in values]
    return list(dict.fromkeys(itertools.product(*lists.values())))


@contextlib.contextmanager
def _loader(words: Sequence[str], dirs: Sequence[Path]) -> Iterator[Any]:
    """Yield what knows the files of a group, where a glob asks for it."""
    if not dirs or not any("glob(" in word for word in words):
        yield None
        return
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    running, GlobalHydra.instance().hydra = GlobalHydra.instance().hydra, None
    try:
        with searching(dirs[1:]), initialize_config_dir(str(dirs[0]), **version_base()):
            yield GlobalHydra.instance().config_loader()
    finally:
        GlobalHydra.instance().hydra = running


_ACTIONS: dict[str, Action] = {
    "CHANGE": "change",
    "ADD": "add",
    "FORCE_ADD": "force",
    "DEL": "delete",
}
