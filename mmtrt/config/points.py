"""The points of a sweep: composed by Hydra once for each choice of files, then by hand.

Hydra takes some sixty milliseconds for one composition, which is a minute for a thousand points.
Nearly all of that is reading and merging files, and points that choose the same files differ in a
few values only. So one composition by Hydra is kept for each choice of files, and values are put
into a copy of what changes. Whatever is not plainly a value (a reference to another key, a key that
needs an explanation, a mistake) is left to :func:`mmtrt.config.compose.compose_anew`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmtrt.config import grammar, keys, typed
from mmtrt.config.compose import Composed, compose_anew, together
from mmtrt.config.explain import explain
from mmtrt.config.hydra_compose import plainly, quiet
from mmtrt.config.locate import Places
from mmtrt.config.look import invented_name, leaves, look
from mmtrt.config.overrides import GROUPS, Parsed, canonical, for_hydra, key_of
from mmtrt.config.plain import Plain, plain_of, texts
from mmtrt.config.root import SetBy, Source, search_dirs
from mmtrt.config.schema import Settings
from mmtrt.errors import MmtrtError, RecipeError

if TYPE_CHECKING:
    from mmtrt.config.yaml_file import Document

_NAME = re.compile(r"[A-Za-z_]\w*")
_CONSTANT = re.compile(r"[^$]*\$\{oc\.env:[^${}]*\}[^$]*")
"""A text whose one interpolation depends on nothing but an environment variable."""


@dataclass(frozen=True, slots=True)
class _Word:
    """One override, looked at once for all points."""

    parsed: Parsed
    is_choice: bool
    """Whether it chooses a file, or is for Hydra itself."""
    set_by: tuple[SetBy, ...]

    @property
    def is_value(self) -> bool:
        """Whether it is a value that can be put into a mapping as it stands."""
        parsed = self.parsed
        return parsed.action != "other" and all(map(_NAME.fullmatch, parsed.path[:1]))


@dataclass
class _Base:
    """What Hydra made of one choice of files."""

    plain: Plain
    settings: Settings | None
    """``None`` where a value does not fit, which a point may put right."""
    sources: tuple[Source, ...]
    set_by: Mapping[str, tuple[SetBy, ...]]
    """What each of the overrides that choose files sets."""
    documents: dict[Path, Document | None] = field(default_factory=dict)
    """The files, for messages; read when the first of them is due."""
    names: dict[tuple[str, str], bool] = field(default_factory=dict)
    """(key, action) of an override -> whether it makes up no name."""

    @cached_property
    def is_constant(self) -> bool:
        """Whether no value depends on another."""
        return all(_CONSTANT.fullmatch(text) for text in self.plain.texts)


class Composer:
    """Composes many configurations that have files in common."""

    def __init__(self, config_dirs: Iterable[str | Path] = (), config_name: str = "config") -> None:
        """Search ``config_dirs`` besides mmtrt's own recipes.

        Raises:
            RecipeError: CFG107, if one of them is no directory.
        """
        self._dirs = search_dirs(config_dirs)
        self._name = config_name
        self._words: dict[str, _Word | None] = {}
        self._bases: dict[tuple[str, ...], _Base | None] = {}
        self._params: dict[tuple[str, ...], dict[str, Any]] = {}
        """What the files that were chosen say of the points of a named sweep."""
        self._mistakes: dict[str, tuple[RecipeError, ...]] = {}
        """Override -> what is wrong with it wherever it stands."""

    def compose(self, overrides: Sequence[str], number: int = 0) -> Composed:
        """Return what :func:`mmtrt.config.compose.compose` returns.

        Args:
            overrides: of one point, in Hydra's grammar.
            number: of the point, for ``${hydra:job.num}``.

        Raises:
            RecipeError: with every mistake found, the first in front.
        """
        words = tuple(canonical(overrides))
        # What a later override replaces or deletes is not even looked at.
        has_deletion = any(word.startswith("~") for word in words)
        lasting = {} if has_deletion else {key_of(word): word for word in words}
        if known := [error for word in lasting.values() for error in self._mistakes.get(word, ())]:
            raise together([_alone(error) for error in known])
        looked = [self._word(text) for text in words]
        good = [word for word in looked if word is not None]
        composed = self._put_together(words, good) if len(good) == len(looked) else None
        if composed is not None:
            return composed
        try:
            return compose_anew(words, self._dirs, self._name, number)[0]
        except RecipeError as error:
            self._remember(error, words)
            raise

    def expand(self, overrides: Sequence[str]) -> list[tuple[str, ...]] | None:
        """Return the overrides of every point of a sweep, in the order in which Hydra runs them.

        A named sweep's own choices come first, and what the command line says of the same key takes
        their place. Equal points are one. ``None`` where only another sweeper can tell the points,
        as for ``interval(0,1)``. What cannot be parsed is left as it is.
        """
        words = canonical(overrides)
        first = grammar.points([word for word in words if "glob(" not in word])
        chosen = [self._word(text) for text in first[0]] if first else []
        files = tuple(word.parsed.text for word in chosen if word is not None and word.is_choice)
        self._base(files)
        params = self._params.get(files, {})
        swept = [f"{key}={value}" for key, value in params.items()]
        return grammar.points([*swept, *words], self._dirs)

    def problems(self, points: Sequence[Sequence[str]]) -> list[RecipeError]:
        """Return what is wrong with any of the points, each mistake alone."""
        found: dict[str, RecipeError] = {}
        for number, point in enumerate(points):
            try:
                self.compose(point, number)
            except RecipeError as error:
                every = [error, *(each for each in error.also if isinstance(each, RecipeError))]
                found |= {alone.render(): alone for alone in map(_alone, every)}
        return list(found.values())

    def _remember(self, error: RecipeError, words: Sequence[str]) -> None:
        """Keep what is wrong with one override whatever the others say."""
        for each in (error, *error.also):
            text = (each.at or "").removeprefix("override '").removesuffix("'")
            # A variant that one recipe lacks may be another's; nothing else depends on the others.
            is_alone = each.code == "CFG106" or (
                each.code in ("CFG102", "CFG108") and self._words.get(text) is None
            )
            if text in words and is_alone and isinstance(each, RecipeError):
                before = self._mistakes.get(text, ())
                if _alone(each).render() not in [known.render() for known in before]:
                    self._mistakes[text] = (*before, _alone(each))

    def _word(self, text: str) -> _Word | None:
        """Return an override taken apart; ``None`` if something is odd about it."""
        if text not in self._words:
            self._words[text] = self._look(text)
        return self._words[text]

    def _look(self, text: str) -> _Word | None:
        from mmtrt.config.root import choices

        parsed, problems = grammar.parse([text])
        if problems or parsed[0].is_sweep:
            return None
        each = parsed[0]
        if each.is_hydra:
            return _Word(each, True, ())
        if each.key in GROUPS or ("." not in each.key and choices(each.key, self._dirs)):
            return None if isinstance(each.value, dict) else _Word(each, True, ())
        if each.package is not None or not keys.check(each.path).ok:
            return None
        set_by = tuple((path, True, text) for path in leaves(each.path, each.value))
        return _Word(each, False, set_by)

    def _base(self, texts: tuple[str, ...]) -> _Base | None:
        if texts not in self._bases:
            self._bases[texts] = self._compose_base(texts)
        return self._bases[texts]

    def _compose_base(self, texts: tuple[str, ...]) -> _Base | None:
        parsed, problems = grammar.parse(texts)
        looked = look(parsed, self._dirs, self._name)
        if problems or looked.problems:
            return None
        try:
            plain = plainly(looked.hydra_words, self._dirs, self._name)
        except MmtrtError:
            return None
        self._params[texts] = plain.params
        if plain.missing or plain.unresolved or plain.has_searchpath:
            return None
        settings, _ = typed.read(Settings, plain.data)
        set_by: dict[str, tuple[SetBy, ...]] = {}
        for each in looked.set_by:
            set_by[each[2]] = (*set_by.get(each[2], ()), each)
        return _Base(plain, settings, tuple(looked.sources), set_by)

    def _put_together(self, words: tuple[str, ...], good: Sequence[_Word]) -> Composed | None:
        base = self._base(tuple(word.parsed.text for word in good if word.is_choice))
        if base is None:
            return None
        set_by: list[SetBy] = []
        values = []
        for word in good:
            if word.is_choice:
                set_by += base.set_by.get(word.parsed.text, ())
            elif word.is_value and self._is_named(base, word.parsed):
                values.append(word.parsed)
                set_by += word.set_by
            else:
                return None
        data = _with_values(base, values)
        if data is None:
            return None
        if base.settings is None:
            settings, misfits = typed.read(Settings, data)
        else:
            settings, misfits = typed.reread(Settings, data, base.plain.data, base.settings)

        places = Places(base.sources, set_by, base.documents)
        if settings is None:
            raise together([explain(each, places) for each in misfits])
        composed = Composed(settings, data, words, base.sources, tuple(set_by))
        composed.__dict__["_located"] = places
        return composed

    def _is_named(self, base: _Base, each: Parsed) -> bool:
        """Return whether an override makes up no variant or stage by a misspelt name."""
        if (each.key, each.action) not in base.names:
            invented = invented_name(each, base.sources)
            base.names[each.key, each.action] = invented is None
        return base.names[each.key, each.action]


def _alone(error: RecipeError) -> RecipeError:
    """Return an error without those that were found with it."""
    return RecipeError(error.message, error.code, error.at, error.why, error.fix)


def _with_values(base: _Base, values: Sequence[Parsed]) -> dict[str, Any] | None:
    """Return the base's data with values put in; ``None`` where that takes OmegaConf and Hydra."""
    is_constant = base.is_constant and not any(_refers(each.value) for each in values)
    data: dict[str, Any] = base.plain.data if is_constant else base.plain.raw
    copied: set[int] = set()
    for each in values:
        changed = _put(data, each, copied)
        if changed is None:
            return None
        data = changed
    if is_constant:
        return data
    from omegaconf import OmegaConf

    with quiet():
        plain = plain_of(OmegaConf.create(data))
    if plain.missing or plain.unresolved or any("hydra:" in text for text in plain.texts):
        return None
    resolved: dict[str, Any] = _shared(plain.data, base.plain.data)
    return resolved


def _put(data: dict[str, Any], each: Parsed, copied: set[int]) -> dict[str, Any] | None:
    """Return data with one value set or deleted, sharing all that does not change.

    Args:
        data: not changed, but for the mappings in ``copied``.
        each: an override whose key fits the schema.
        copied: ``id`` of each mapping that nobody else holds.
    """
    if _has_mark(each.value):
        return None
    *above, last = each.path
    data = _own(data, copied)
    parent = data
    for part in above:
        inner = parent.get(part)
        if not isinstance(inner, dict):
            return None
        parent[part] = inner = _own(inner, copied)
        parent = inner
    if each.action == "delete":
        if parent.get(last) is None or parent[last] == "???":
            return None
        if each.value is not None and each.value != parent[last]:
            return None
        del parent[last]
        return data
    is_new = last not in parent
    if is_new and not (_may_add(each) and _NAME.fullmatch(last)):
        return None
    before = parent.get(last)
    if each.action == "add" and before is not None and not isinstance(each.value, (dict, list)):
        return None
    if _refers(before) and isinstance(each.value, (dict, list)):
        return None  # what is referred to would be merged with
    if isinstance(each.value, dict):
        if before is not None and not isinstance(before, dict):
            return None
        parent[last] = _merged(before or {}, each.value)
    elif isinstance(before, dict) and each.value is not None:
        return None
    else:
        parent[last] = each.value
    return data


def _may_add(each: Parsed) -> bool:
    return each.action in ("add", "force") or for_hydra(each).startswith("++")


def _own(mapping: dict[str, Any], copied: set[int]) -> dict[str, Any]:
    if id(mapping) in copied:
        return mapping
    fresh = dict(mapping)
    copied.add(id(fresh))
    return fresh


def _merged(before: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(before)
    for key, value in new.items():
        known = merged.get(key)
        both = isinstance(known, dict) and isinstance(value, dict)
        merged[key] = _merged(known, value) if both else value  # type: ignore[arg-type] # both are
    return merged


def _shared(data: Any, known: Any) -> Any:
    """Return data with the objects of ``known`` wherever both are equal."""
    if isinstance(data, dict) and isinstance(known, dict):
        shared = {key: _shared(value, known.get(key)) for key, value in data.items()}
        same = len(shared) == len(known) and all(
            key in known and value is known[key] for key, value in shared.items()
        )
        return known if same else shared
    return known if type(data) is type(known) and data == known else data


def _refers(value: Any) -> bool:
    return any("${" in text for _, text in texts(value))


def _has_mark(value: Any) -> bool:
    return any(text == "???" for _, text in texts(value))
