"""A look at overrides and files before Hydra composes, so that mistakes are told with places."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmtrt.config import keys, mistakes, typed
from mmtrt.config.defaults_list import Choice, Walk
from mmtrt.config.locate import Places
from mmtrt.config.names import nearest
from mmtrt.config.overrides import GROUPS, Parsed, for_hydra, spoken, with_key
from mmtrt.config.root import SetBy, Source, choices
from mmtrt.config.yaml_file import names_below
from mmtrt.errors import RecipeError


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


def look(parsed: Sequence[Parsed], dirs: Sequence[Path], config_name: str) -> Looked:
    """Check the overrides' keys and the files that take part."""
    looked = Looked()
    chosen: dict[str, Choice] = {}
    appended: list[tuple[str, Choice]] = []
    deleted: set[str] = set()
    good: list[Parsed] = []
    all_dirs = [*dirs, *_searchpath(parsed)]
    for each in parsed:
        is_group = each.key in GROUPS or bool(
            not each.is_hydra and "." not in each.key and choices(each.key, all_dirs)
        )
        if each.is_sweep:
            looked.problems.append(mistakes.sweep(each))
        elif each.is_hydra:
            good.append(each)
        elif is_group and not isinstance(each.value, dict):
            if (mistake := mistakes.misused_group(each)) is not None:
                looked.problems.append(mistake)
                continue
            names = each.value if isinstance(each.value, list) else [each.value]
            picks = [Choice(None if n is None else spoken(n), each.at) for n in names]
            if each.action == "change":
                chosen[each.name] = picks[0] if picks else Choice(None, each.at)
            elif each.action == "add":
                appended += [(each.key, pick) for pick in picks]
            else:
                deleted.add(each.name)
            good.append(each)
        elif each.package is not None or not keys.check(each.path).ok:
            looked.problems.append(mistakes.unknown_key(each))
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
        looked.hydra_words.append(for_hydra(each))
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


def _searchpath(parsed: Sequence[Parsed]) -> list[Path]:
    """Return the directories that the user adds by ``hydra.searchpath=[...]``."""
    for each in parsed:
        if each.key == "hydra.searchpath" and isinstance(each.value, list):
            places = [p.removeprefix("file://") for p in each.value if isinstance(p, str)]
            return [Path(place).absolute() for place in places if "://" not in place]
    return []


def invented_name(each: Parsed, sources: Sequence[Source]) -> RecipeError | None:
    """Refuse to make a variant or a stage by a misspelt name; ``+key=value`` may make one."""
    if each.is_hydra or each.action != "change":
        return None
    for depth in keys.check(each.path).free:
        places = Places(sources, ())
        parent, found = places.node(each.path[:depth]), places.node(each.path[: depth + 1])
        if parent is None or not parent[3] or (found is not None and found[3]):
            continue
        names = names_below(parent[2])
        near = nearest(each.path[depth], names, 1)
        key = ".".join((*each.path[:depth], *near, *each.path[depth + 1 :]))
        return RecipeError(
            f"{'.'.join(each.path[:depth])} has no {each.path[depth]!r}",
            code="CFG102",
            at=each.at,
            why=f"it has {', '.join(names)}" if names else None,
            fix=with_key(each.text, key) if near else f"write +{each.text} to add it",
        )
    return None
