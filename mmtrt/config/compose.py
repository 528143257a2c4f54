"""From overrides to settings.

A composition that was seen before comes from :mod:`mmtrt.config.cache`. Otherwise the overrides
and files are looked at first, so that every mistake can be told with its place; then Hydra
composes; then the result is read into the schema. No exception of Hydra leaves this module. What a
cached composition does not need is imported inside of functions.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmtrt.config import cache, typed
from mmtrt.config.overrides import canonical
from mmtrt.config.root import SetBy, Source, search_dirs
from mmtrt.config.schema import Settings
from mmtrt.errors import RecipeError

if TYPE_CHECKING:
    from mmtrt.config.locate import Places


@dataclass(frozen=True)
class Composed:
    """One configuration, with the places that it comes from."""

    settings: Settings
    data: dict[str, Any]
    """The same as plain data, every interpolation resolved, without Hydra's own node."""
    overrides: tuple[str, ...]
    sources: tuple[Source, ...]
    """The files that took part, in the order of merging: a later one wins."""
    set_by: tuple[SetBy, ...] = field(default=(), repr=False)

    def where(self, path: typed.KeyPath) -> str:
        """Return where a value was written: ``file:line:column`` or ``override 'tp=2'``."""
        return self._places.where(path)

    @property
    def _places(self) -> Places:
        places: Places | None = self.__dict__.get("_located")
        if places is None:
            from mmtrt.config.locate import Places

            places = self.__dict__["_located"] = Places(self.sources, self.set_by)
        return places


def compose(
    overrides: Sequence[str],
    config_dirs: Sequence[str | os.PathLike[str]] = (),
    config_name: str = "config",
) -> Composed:
    """Compose a configuration.

    Args:
        overrides: in Hydra's grammar, such as ``recipe=llava`` and ``run.image=[a.png,b.png]``.
        config_dirs: directories with the user's own recipes.
        config_name: the primary config.

    Raises:
        RecipeError: with every mistake found, the first in front: CFG100 to CFG109.
    """
    words = tuple(canonical(overrides))
    dirs = search_dirs(config_dirs)
    name, read_ns = None, time.time_ns()
    if cache.directory() is not None:
        name = cache.key(words, config_name, [str(each) for each in dirs], cache.installed())
    if name is not None and (entry := cache.load(name)) is not None:
        settings, _ = typed.read(Settings, entry.data)
        hit = None if settings is None else _from_entry(settings, entry, words)
        if hit is not None:
            return hit
    composed, written = compose_anew(words, dirs, config_name)
    if name is not None and written is not None:
        _remember(name, composed, config_name, dirs, written, read_ns)
    return composed


def _from_entry(settings: Settings, entry: cache.Entry, words: tuple[str, ...]) -> Composed | None:
    try:
        sources = tuple(Source(Path(path), package) for path, package in entry.sources)
        set_by = tuple((tuple(path), whole, text) for path, whole, text in entry.set_by)
    except (TypeError, ValueError):
        return None
    return Composed(settings, entry.data, words, sources, set_by)


def _remember(
    name: str,
    composed: Composed,
    config_name: str,
    dirs: Sequence[Path],
    texts: list[str],
    read_ns: int,
) -> None:
    """Store a composition, unless it may come out otherwise the next time."""
    places = [str(each) for each in dirs]
    files = cache.yaml_files(places)
    if files is None or not cache.is_plain(composed.data) or not cache.is_settled(files, read_ns):
        return
    try:
        texts += [Path(path).read_text(encoding="utf-8", errors="replace") for path, *_ in files]
    except OSError:
        return
    variables = cache.env_mentioned([*texts, *composed.overrides])
    if variables is None:
        return
    env = {each: cache.env_digest(each) for each in sorted(variables)}
    if name != cache.key(composed.overrides, config_name, places, cache.installed()):
        return  # a file changed meanwhile
    sources = [[str(path), package] for path, package in composed.sources]
    set_by = [[list(path), whole, text] for path, whole, text in composed.set_by]
    cache.save(name, cache.Entry(composed.data, sources, set_by, env))


def compose_anew(
    words: tuple[str, ...], dirs: tuple[Path, ...], config_name: str, number: int = 0
) -> tuple[Composed, list[str] | None]:
    """Compose with Hydra; also return texts that decide about caching, ``None`` for never.

    Args:
        words: overrides in Hydra's grammar.
        dirs: every directory that may hold recipes.
        config_name: the primary config.
        number: of the point, for ``${hydra:job.num}``.
    """
    from mmtrt.config import grammar, mistakes
    from mmtrt.config.explain import explain, unresolved
    from mmtrt.config.hydra_compose import LOCK, hydra_compose, quiet
    from mmtrt.config.locate import Places
    from mmtrt.config.look import look

    parsed, problems = grammar.parse(words)
    looked = look(parsed, dirs, config_name)
    problems += looked.problems
    if looked.is_hopeless:
        raise together(problems)
    with LOCK, quiet():
        try:
            plain = hydra_compose(looked.hydra_words, dirs, config_name, number)
        except Exception as err:  # Hydra raises anything; it ends here
            problems.append(mistakes.from_hydra(err, words))
            raise together(problems) from err
    places = Places(looked.sources, looked.set_by)
    for path in plain.missing:
        problem = typed.Problem(path, "missing", "must be said")
        problems.append(explain(problem, places))
    for path, reason in plain.unresolved:
        problems.append(unresolved(path, reason, places))
    settings, misfits = typed.read(Settings, plain.data)
    told = {*plain.missing, *(path for path, _ in plain.unresolved)}
    problems += [
        explain(each, places)
        for each in misfits
        if not any(each.path[: len(path)] == path for path in told)
    ]
    if problems or settings is None:
        raise together(problems)
    composed = Composed(settings, plain.data, words, tuple(looked.sources), tuple(looked.set_by))
    return composed, None if plain.has_searchpath else plain.texts


def recompose(composed: Composed, config: Any) -> Composed:
    """Return the composition that a job of Hydra got, with the places of the same overrides.

    The two differ where a value depends on the job, as ``${hydra:job.num}`` does.

    Raises:
        RecipeError: if the job's values do not fit the schema.
    """
    from mmtrt.config.explain import explain
    from mmtrt.config.locate import Places
    from mmtrt.config.plain import plain_of

    plain = plain_of(config)
    if plain.data == composed.data:
        return composed
    settings, misfits = typed.read(Settings, plain.data)
    if settings is None:
        places = Places(composed.sources, composed.set_by)
        raise together([explain(each, places) for each in misfits])
    return dataclasses.replace(composed, settings=settings, data=plain.data)


def together(problems: Sequence[RecipeError]) -> RecipeError:
    """Return the first error with the others attached, each told once."""
    unique = list({problem.render(): problem for problem in problems}.values())
    unique[0].also = [*unique[0].also, *unique[1:]]
    return unique[0]
