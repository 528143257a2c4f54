"""From overrides to settings.

YAML files are merged in the order of the defaults list, then each override's value is put in its
place; no file and no override is read twice, however many points a sweep has. What is not plainly
a file or a value is left to Hydra: packages in a defaults list, deletions, ``${hydra:...}``,
overrides of Hydra itself. No exception of Hydra leaves this module.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from mmtrt.config import grammar, keys, mistakes, typed
from mmtrt.config.defaults_list import Walk
from mmtrt.config.explain import explain, unresolved
from mmtrt.config.hydra_compose import Plain, by_hydra, resolved, texts
from mmtrt.config.locate import Places
from mmtrt.config.names import nearest
from mmtrt.config.overrides import GROUPS, Parsed, canonical, for_hydra, with_key
from mmtrt.config.root import SetBy, Source, choices, search_dirs
from mmtrt.config.schema import Settings
from mmtrt.config.yaml_file import Files, merged
from mmtrt.errors import RecipeError

_NAME = re.compile(r"[A-Za-z_]\w*")
_ENV = re.compile(r"\$\{oc\.env:(\w+)(?:,([A-Za-z][\w./-]*))?\}")
_CONSTANT = re.compile(rf"[^$\\]*{_ENV.pattern}[^$\\]*")
"""A text whose one interpolation depends on nothing but an environment variable."""
_KEYWORDS = ("null", "true", "false", "inf", "nan")


@dataclass(frozen=True)
class Composed:
    """One configuration, with the places that it comes from."""

    settings: Settings
    data: dict[str, Any]
    """The same as plain data, every interpolation resolved, without Hydra's own node."""
    overrides: tuple[str, ...]
    places: Places = field(repr=False)

    @property
    def sources(self) -> tuple[Source, ...]:
        """The files that took part, in the order of merging: a later one wins."""
        return self.places.sources

    def where(self, path: typed.KeyPath) -> str:
        """Return where a value was written: ``file:line:column`` or ``override 'tp=2'``."""
        return self.places.where(path)


def compose(
    overrides: Sequence[str],
    config_dirs: Iterable[str | os.PathLike[str]] = (),
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
    return Composer(config_dirs, config_name).compose(overrides)


@dataclass(frozen=True, slots=True)
class _Word:
    """One override, taken apart once for all points."""

    text: str
    parsed: Parsed | None = None
    """``None`` if something is wrong with it, whatever the others say."""
    problems: tuple[RecipeError, ...] = ()
    is_choice: bool = False
    """Whether it chooses a file, or is for Hydra itself."""
    set_by: tuple[SetBy, ...] = ()


@dataclass
class _Base:
    """What one choice of files gives."""

    sources: list[Source]
    problems: list[RecipeError]
    """Why nothing can be composed of it."""
    words: list[str]
    """The choices as Hydra takes them."""
    raw: dict[str, Any] = field(default_factory=dict)
    """Values before interpolations are resolved, without Hydra's own node."""
    params: Mapping[str, Any] = field(default_factory=dict)
    """What ``hydra.sweeper.params`` says: the points of a named sweep."""

    @cached_property
    def is_constant(self) -> bool:
        """Whether no value depends on another."""
        return not _depends(self.raw)

    @cached_property
    def data(self) -> dict[str, Any] | None:
        """The values, ``None`` if one cannot be told without more overrides."""
        if self.is_constant:
            plain = Plain(_with_env(self.raw))
        elif _asks_hydra(self.raw):
            return None
        else:
            plain = resolved(self.raw, self.words)
        data: dict[str, Any] = plain.data
        return None if plain.unresolved else data

    @cached_property
    def missing(self) -> list[typed.KeyPath]:
        """Values that are still ``???``."""
        return [] if self.data is None else [p for p, text in texts(self.data) if text == "???"]

    @cached_property
    def settings(self) -> Settings | None:
        """The settings; ``None`` where a value does not fit, which a point may put right."""
        if self.data is None or self.missing:
            return None
        return typed.read(Settings, self.data)[0]


class Composer:
    """Composes many configurations that have files in common."""

    def __init__(
        self, config_dirs: Iterable[str | os.PathLike[str]] = (), config_name: str = "config"
    ) -> None:
        """Search ``config_dirs`` besides mmtrt's own recipes.

        Raises:
            RecipeError: CFG107, if one of them is no directory.
        """
        self.dirs = search_dirs(config_dirs)
        self._name = config_name
        self._words: dict[str, _Word] = {}
        self._bases: dict[tuple[str, ...], _Base] = {}
        self._files = Files()

    def compose(self, overrides: Sequence[str], number: int | None = 0) -> Composed:
        """Return the configuration of one point.

        Args:
            overrides: of the point, in Hydra's grammar.
            number: of the point, for ``${hydra:job.num}``; ``None`` inside of a job of Hydra's.

        Raises:
            RecipeError: with every mistake found, the first in front.
        """
        words = tuple(canonical(overrides))
        base, values, problems, set_by = self._look(words)
        if base.problems:
            raise together(problems)
        plain = self._plain(base, values, words, number)
        places = Places(base.sources, set_by, self._files)
        problems += [
            explain(typed.Problem(p, "missing", "must be said"), places) for p in plain.missing
        ]
        problems += [unresolved(path, reason, places) for path, reason in plain.unresolved]
        if base.settings is None or base.data is None:
            settings, misfits = typed.read(Settings, plain.data)
        else:
            settings, misfits = typed.reread(Settings, plain.data, base.data, base.settings)
        told = {*plain.missing, *(path for path, _ in plain.unresolved)}
        problems += [
            explain(each, places)
            for each in misfits
            if not any(each.path[: len(path)] == path for path in told)
        ]
        if problems or settings is None:
            raise together(problems)
        return Composed(settings, plain.data, words, places)

    def look(self, overrides: Sequence[str]) -> list[RecipeError]:
        """Return what is wrong with keys and files, whatever the values are."""
        return self._look(tuple(canonical(overrides)))[2]

    def expand(self, overrides: Sequence[str]) -> list[tuple[str, ...]] | None:
        """Return the overrides of every point of a sweep, in the order in which Hydra runs them.

        A named sweep's own choices come first, and what the command line says of the same key takes
        their place. Equal points are one. ``None`` where only another sweeper can tell the points,
        as for ``interval(0,1)``. What cannot be parsed is left as it is.
        """
        words = canonical(overrides)
        first = grammar.points([word for word in words if "glob(" not in word])
        params = self._look(first[0])[0].params if first else {}
        return grammar.points([*(f"{k}={v}" for k, v in params.items()), *words], self.dirs)

    def problems(self, points: Sequence[Sequence[str]]) -> list[RecipeError]:
        """Return what is wrong with any of the points, each mistake alone."""
        found: dict[str, RecipeError] = {}
        for number, point in enumerate(points):
            try:
                self.compose(point, number)
            except RecipeError as error:
                every = [error, *(each for each in error.also if isinstance(each, RecipeError))]
                alone = (RecipeError(e.message, e.code, e.at, e.why, e.fix) for e in every)
                found |= {each.render(): each for each in alone}
        return list(found.values())

    def _look(
        self, words: Sequence[str]
    ) -> tuple[_Base, list[Parsed], list[RecipeError], list[SetBy]]:
        """Return files, values, what is wrong with them, and which override sets what."""
        looked = [self._word(text) for text in words]
        problems = [problem for word in looked for problem in word.problems]
        problems.sort(key=lambda each: each.code != "CFG108")
        base = self._base([each.parsed for each in looked if each.parsed and each.is_choice])
        values = []
        for each in looked:
            if each.parsed is None or each.is_choice:
                continue
            if not base.problems and (invented := _invented_name(each.parsed, base.raw)):
                problems.append(invented)
            else:
                values.append(each.parsed)
        set_by = [each for word in looked for each in word.set_by]
        return base, values, [*problems, *base.problems], set_by

    def _word(self, text: str) -> _Word:
        if text not in self._words:
            self._words[text] = self._taken_apart(text)
        return self._words[text]

    def _taken_apart(self, text: str) -> _Word:
        parsed, problems = grammar.parse([text])
        if problems:
            return _Word(text, problems=tuple(problems))
        (each,) = parsed
        if each.is_sweep:
            return _Word(text, problems=(mistakes.sweep(each),))
        if each.is_hydra:
            return _Word(text, each, is_choice=True)
        is_group = each.key in GROUPS or ("." not in each.key and choices(each.key, self.dirs))
        if is_group and not isinstance(each.value, dict):
            if (mistake := mistakes.misused_group(each)) is not None:
                return _Word(text, problems=(mistake,))
            whole = each.action != "change"
            return _Word(text, each, is_choice=True, set_by=((each.path, whole, text),))
        if each.package is not None or not keys.check(each.path).ok:
            return _Word(text, problems=(mistakes.unknown_key(each),))
        set_by = tuple((path, True, text) for path in _leaves(each.path, each.value))
        return _Word(text, each, set_by=set_by)

    def _base(self, chosen: list[Parsed]) -> _Base:
        name = tuple(each.text for each in chosen)
        if name not in self._bases:
            self._bases[name] = self._composed_base(chosen)
        return self._bases[name]

    def _composed_base(self, words: list[Parsed]) -> _Base:
        walk = Walk([*self.dirs, *_searchpath(words)], self._files)
        hydra = [each for each in words if each.is_hydra]
        for each in words:
            if not each.is_hydra:
                walk.choose(each)
        walk.run(self._name)
        base = _Base(walk.sources, walk.problems, [for_hydra(each) for each in words])
        if base.problems:
            return base
        try:
            raw = None if walk.is_exotic or hydra else walk.merged()
            if raw is not None and "hydra" not in raw:
                base.raw = raw
            else:
                plain = by_hydra(base.words, self.dirs, self._name, base.words)
                base.raw, base.params = plain.raw, plain.params
        except RecipeError as error:
            base.problems.append(error)
        except RecursionError as error:
            base.problems.append(mistakes.from_hydra(error, base.words))
        return base

    def _plain(
        self, base: _Base, values: Sequence[Parsed], words: Sequence[str], number: int | None
    ) -> Plain:
        """Return the values of one point as plain data.

        Raises:
            RecipeError: in whose words Hydra refused.
        """
        try:
            is_constant = base.is_constant and not any(_depends(each.value) for each in values)
            data = base.data if is_constant else base.raw
            copied: set[int] = set()
            for each in values:
                data = data and _put(data, each, copied)
            if data is not None and is_constant:
                missing = [path for path, text in texts(data) if text == "???"]
                return Plain(data, missing if base.missing else [])
            if data is None or (number is not None and _asks_hydra(data)):
                overrides = [*base.words, *map(for_hydra, values)]
                return by_hydra(overrides, self.dirs, self._name, words, number or 0)
            plain = resolved(data, words)
            if base.data is not None:
                plain.data = _shared(plain.data, base.data)
            return plain
        except RecursionError as error:
            raise mistakes.from_hydra(error, words) from error


def together(problems: Sequence[RecipeError]) -> RecipeError:
    """Return the first error with the others attached, each told once."""
    unique = list({problem.render(): problem for problem in problems}.values())
    unique[0].also = [*unique[0].also, *unique[1:]]
    return unique[0]


def _searchpath(parsed: Iterable[Parsed]) -> list[Path]:
    """Return the directories that the user adds by ``hydra.searchpath=[...]``."""
    for each in parsed:
        if each.key == "hydra.searchpath" and isinstance(each.value, list):
            places = [p.removeprefix("file://") for p in each.value if isinstance(p, str)]
            return [Path(place).absolute() for place in places if "://" not in place]
    return []


def _invented_name(each: Parsed, raw: Any) -> RecipeError | None:
    """Refuse to make a variant or a stage by a misspelt name; ``+key=value`` may make one."""
    if each.action != "change":
        return None
    for depth in keys.check(each.path).free:
        try:
            for part in each.path[:depth]:
                raw = raw[int(part) if isinstance(raw, list) else part]
        except (KeyError, TypeError, ValueError, IndexError):
            return None
        names = [str(name) for name in raw] if isinstance(raw, dict) else []
        name = each.path[depth]
        if name in names or isinstance(raw, list):
            continue
        near = nearest(name, names, 1)
        key = ".".join((*each.path[:depth], *near, *each.path[depth + 1 :]))
        return RecipeError(
            f"{'.'.join(each.path[:depth])} has no {name!r}",
            code="CFG102",
            at=each.at,
            why=f"it has {', '.join(names)}" if names else None,
            fix=with_key(each.text, key) if near else f"write +{each.text} to add it",
        )
    return None


def _leaves(path: typed.KeyPath, value: Any) -> Iterator[typed.KeyPath]:
    """Yield the key path of every value that an override sets."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves((*path, str(key)), inner)
    else:
        yield path


def _depends(value: Any) -> bool:
    """Return whether a value depends on another, and not just on the environment."""
    for _, text in texts(value):
        if "${" in text:
            found = _CONSTANT.fullmatch(text)
            if found is None or (found[2] is None and found[1] not in os.environ):
                return True
            if found[2] is not None and found[2].lower() in _KEYWORDS:
                return True
    return False


def _with_env(value: Any) -> Any:
    """Return a value that depends on nothing but the environment, resolved."""
    if isinstance(value, str) and "${" in value:
        return _ENV.sub(lambda found: os.environ.get(found[1], found[2]), value)
    if isinstance(value, dict):
        return {key: _with_env(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_with_env(inner) for inner in value]
    return value


def _asks_hydra(data: Any) -> bool:
    return any("hydra:" in text and "${" in text for _, text in texts(data))


def _put(data: dict[str, Any], each: Parsed, copied: set[int]) -> dict[str, Any] | None:
    """Return data with one value set, sharing all that does not change.

    ``None`` where that takes Hydra: deletions, items of lists, what it will refuse.

    Args:
        data: not changed, but for the mappings in ``copied``.
        each: an override whose key fits the schema.
        copied: ``id`` of each mapping that nobody else holds.
    """
    if each.action in ("delete", "other") or any(text == "???" for _, text in texts(each.value)):
        return None
    *above, last = each.path
    parent = data = _own(data, copied)
    for part in above:
        if not isinstance(parent.get(part), dict):
            return None
        parent[part] = parent = _own(parent[part], copied)
    value, before = each.value, parent.get(last)
    may_add = each.action in ("add", "force") or for_hydra(each).startswith("++")
    is_mapping = isinstance(value, dict)
    if last not in parent and not (may_add and _NAME.fullmatch(last)):
        return None
    if each.action == "add" and before is not None and not isinstance(value, (dict, list)):
        return None
    if isinstance(value, (dict, list)) and any("${" in text for _, text in texts(before)):
        return None  # what is referred to would be merged with
    if isinstance(before, dict) != is_mapping and before is not None and value is not None:
        return None
    value = _with_env(value) if not _depends(value) else value
    parent[last] = merged(before or {}, value) if is_mapping else value
    return data


def _own(mapping: dict[str, Any], copied: set[int]) -> dict[str, Any]:
    if id(mapping) in copied:
        return mapping
    fresh = dict(mapping)
    copied.add(id(fresh))
    return fresh


def _shared(data: Any, known: Any) -> Any:
    """Return data with the objects of ``known`` wherever both are equal."""
    if isinstance(data, dict) and isinstance(known, dict):
        shared = {key: _shared(value, known.get(key)) for key, value in data.items()}
        same = len(shared) == len(known) and all(
            key in known and value is known[key] for key, value in shared.items()
        )
        return known if same else shared
    return known if type(data) is type(known) and data == known else data
