"""From overrides to settings: the one place, with ``hydra_app``, that talks to Hydra.

A composition that was seen before comes from :mod:`mmtrt.config.cache`. Otherwise the overrides
and files are looked at first, so that every mistake can be told with its place; then Hydra
composes; then the result is read into the schema. Hydra and OmegaConf are imported inside of
functions only, and no exception of theirs leaves this module.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import re
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache as memoised
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmtrt.config import cache, typed
from mmtrt.config import overrides as keys
from mmtrt.config.root import Source, search_dirs
from mmtrt.config.schema import Settings
from mmtrt.errors import RecipeError

if TYPE_CHECKING:
    from mmtrt.config.locate import Places

SetBy = tuple[typed.KeyPath, bool, str]
"""Key path, whether everything below it was set too, and the override."""

_LOCK = threading.RLock()  # Hydra keeps its state in singletons


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
    words = tuple(keys.canonical(overrides))
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


# Composing anew


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
    from mmtrt.config import locate

    parsed, problems = parse(words)
    looked = look(parsed, dirs, config_name)
    problems += looked.problems
    if looked.is_hopeless:
        raise together(problems)
    with _LOCK, quiet():
        try:
            plain = hydra_compose(looked.hydra_words, dirs, config_name, number)
        except Exception as err:  # Hydra raises anything; it ends here
            problems.append(keys.from_hydra(err, words))
            raise together(problems) from err
    places = locate.Places(looked.sources, looked.set_by)
    for path in plain.missing:
        problem = typed.Problem(path, "missing", "must be said")
        problems.append(locate.explain(problem, places))
    for path, reason in plain.unresolved:
        problems.append(_interpolation(path, reason, places))
    settings, misfits = typed.read(Settings, plain.data)
    told = {*plain.missing, *(path for path, _ in plain.unresolved)}
    problems += [
        locate.explain(each, places)
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
    from mmtrt.config import locate

    plain = plain_of(config)
    if plain.data == composed.data:
        return composed
    settings, misfits = typed.read(Settings, plain.data)
    if settings is None:
        places = locate.Places(composed.sources, composed.set_by)
        raise together([locate.explain(each, places) for each in misfits])
    return dataclasses.replace(composed, settings=settings, data=plain.data)


def together(problems: Sequence[RecipeError]) -> RecipeError:
    """Return the first error with the others attached, each told once."""
    unique = list({problem.render(): problem for problem in problems}.values())
    unique[0].also = [*unique[0].also, *unique[1:]]
    return unique[0]


def parse(words: Sequence[str]) -> tuple[list[keys.Parsed], list[RecipeError]]:
    """Parse overrides by Hydra's grammar; the good ones and what is wrong with the others."""
    with quiet():
        from hydra.core.override_parser.overrides_parser import OverridesParser

        parser = OverridesParser.create()
        found: list[keys.Parsed] = []
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
                parsed = keys.Parsed(
                    text, override.key_or_group, override.package, action, value, is_sweep
                )
            except Exception as err:  # noqa: BLE001 - the parser raises anything; it ends here
                problems.append(keys.bad_syntax(text, err, parses))
                continue
            if parsed.key:
                found.append(parsed)
            else:
                problems.append(keys.bad_syntax(text, ValueError("no key"), parses))
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
    with _LOCK, quiet(), _loader(words, dirs) as loader:
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


_ACTIONS: dict[str, keys.Action] = {
    "CHANGE": "change",
    "ADD": "add",
    "FORCE_ADD": "force",
    "DEL": "delete",
}


@dataclass
class Looked:
    """What a look at overrides and files, before Hydra, has found."""

    hydra_words: list[str] = field(default_factory=list)
    """The overrides as Hydra gets them; those with mistakes are left out."""
    sources: list[Source] = field(default_factory=list)
    set_by: list[SetBy] = field(default_factory=list)
    problems: list[RecipeError] = field(default_factory=list)
    is_hopeless: bool = False
    """Whether a file is missing or broken, so that nothing can be composed."""


def look(parsed: Sequence[keys.Parsed], dirs: Sequence[Path], config_name: str) -> Looked:
    """Check the overrides' keys and the files that take part."""
    from mmtrt.config.catalogue import Choice, Walk, choices

    looked = Looked()
    chosen: dict[str, Choice] = {}
    appended: list[tuple[str, Choice]] = []
    deleted: set[str] = set()
    good: list[keys.Parsed] = []
    all_dirs = [*dirs, *_searchpath(parsed)]
    for each in parsed:
        is_group = each.key in keys.GROUPS or bool(
            not each.is_hydra and "." not in each.key and choices(each.key, all_dirs)
        )
        if each.is_sweep:
            looked.problems.append(keys.sweep(each))
        elif each.is_hydra:
            good.append(each)
        elif is_group and not isinstance(each.value, dict):
            if (mistake := keys.misused_group(each)) is not None:
                looked.problems.append(mistake)
                continue
            names = each.value if isinstance(each.value, list) else [each.value]
            picks = [Choice(None if n is None else keys.spoken(n), each.at) for n in names]
            if each.action == "change":
                chosen[each.name] = picks[0] if picks else Choice(None, each.at)
            elif each.action == "add":
                appended += [(each.key, pick) for pick in picks]
            else:
                deleted.add(each.name)
            good.append(each)
        elif each.package is not None or not keys.check(each.path).ok:
            looked.problems.append(keys.unknown_key(each))
        else:
            good.append(each)
    walk = Walk(all_dirs, chosen, appended, frozenset(deleted)).run(config_name)
    looked.sources = walk.sources
    looked.is_hopeless = bool(walk.problems)
    for each in good:
        invented = None if walk.problems else invented_name(each, looked.sources)
        if invented is not None:
            looked.problems.append(invented)
            continue
        looked.hydra_words.append(keys.for_hydra(each))
        if each.name in chosen or each.name in deleted:
            looked.set_by.append((each.path, each.action == "delete", each.text))
        elif not each.is_hydra:
            looked.set_by += [(path, True, each.text) for path in leaves(each.path, each.value)]
    looked.problems += walk.problems
    return looked


def leaves(path: typed.KeyPath, value: Any) -> Iterator[typed.KeyPath]:
    """Yield the key path of every value that an override sets."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from leaves((*path, str(key)), inner)
    else:
        yield path


def _searchpath(parsed: Sequence[keys.Parsed]) -> list[Path]:
    """Return the directories that the user adds by ``hydra.searchpath=[...]``."""
    for each in parsed:
        if each.key == "hydra.searchpath" and isinstance(each.value, list):
            places = [p.removeprefix("file://") for p in each.value if isinstance(p, str)]
            return [Path(place).absolute() for place in places if "://" not in place]
    return []


def invented_name(each: keys.Parsed, sources: Sequence[Source]) -> RecipeError | None:
    """Refuse to make a variant or a stage by a misspelt name; ``+key=value`` may make one."""
    from mmtrt.config.locate import Places, names_below

    if each.is_hydra or each.action != "change":
        return None
    for depth in keys.check(each.path).free:
        places = Places(sources, ())
        parent, found = places.node(each.path[:depth]), places.node(each.path[: depth + 1])
        if parent is None or not parent[3] or (found is not None and found[3]):
            continue
        names = names_below(parent[2])
        near = keys.nearest(each.path[depth], names, 1)
        key = ".".join((*each.path[:depth], *near, *each.path[depth + 1 :]))
        return RecipeError(
            f"{'.'.join(each.path[:depth])} has no {each.path[depth]!r}",
            code="CFG102",
            at=each.at,
            why=f"it has {', '.join(names)}" if names else None,
            fix=keys.with_key(each.text, key) if near else f"write +{each.text} to add it",
        )
    return None


# Hydra itself


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
    with _LOCK, quiet():
        try:
            return hydra_compose(words, dirs, config_name)
        except Exception as err:  # Hydra raises anything; it ends here
            raise keys.from_hydra(err, words) from err


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
        return keys.first_line(err)
    return None


def _interpolation(path: typed.KeyPath, reason: str, places: Places) -> RecipeError:
    error = RecipeError(
        f"{typed.dotted(path)} cannot be resolved",
        code="CFG109",
        at=places.where(path),
        why=reason,
    )
    if found := re.search(r"[Ee]nvironment variable '([^']+)'", reason):
        error.why = f"the environment variable {found[1]} is not set"
        error.fix = f"set it, or give a default: ${{oc.env:{found[1]},default}}"
    elif found := re.search(r"[Ii]nterpolation key '([^']+)' not found", reason):
        error.why = f"there is no key {found[1]!r}"
        near = keys.nearest(found[1], keys.flat_keys(), 1)
        error.fix = f"write ${{{near[0]}}}" if near else "name a key that exists"
    elif found := re.search(r"[Uu]nsupported interpolation type (\S+)", reason):
        error.why = f"there is no resolver {found[1]}"
        error.fix = "write ${key} for another value, ${oc.env:NAME} for an environment variable"
    else:
        error.fix = "name a key that exists, or write \\${ for a dollar sign and a brace"
    return error
