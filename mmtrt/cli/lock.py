"""``mmtrt lock``: pin what recipes leave open."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmtrt.cli.arguments import MULTIRUN, Arguments, parse
from mmtrt.cli.lock_check import check, nothing_locked, report_upgrade
from mmtrt.cli.lock_telling import say, tell
from mmtrt.cli.locking import NAME
from mmtrt.errors import MmtrtError, UsageError

if TYPE_CHECKING:
    from mmtrt.config.compose import Composer
    from mmtrt.config.recipe import Recipe
    from mmtrt.pins.entry import Entry
    from mmtrt.pins.lock_file import Entries, LockFile
    from mmtrt.pins.renew import Renewed
    from mmtrt.pins.resolve import Upgrade

USAGE = """\
mmtrt lock [OVERRIDES...] [-m] [--check] [--upgrade [NAME...]] [--prune] [-o FILE] [--json]
           [-cd DIR]

Write what a recipe leaves open into mmtrt.lock: the commits and digests behind downloads and
clones, the packages of environments, the versions of tools, what backend=auto came to. A lock holds
what was locked before, and all that the new choices need; entries of other recipes stay as they
are. Without overrides, every entry is made anew.

What was locked stays locked as long as the recipe asks for the same. A name that is new stands for
what the store has under it, else for what the hub, the git server or the package index say.

  -m                every point of a sweep, with the overrides of `mmtrt -m`
  --check           write nothing; exit 4 if an entry does not describe its recipe and this host
  --upgrade         ask for everything anew; with NAMEs for these: a stage, a repository, a package,
                    or `backend`
  --prune           take out what no recipe has any more; with overrides, also what other choices
                    of the same recipes needed
  -o, --output FILE the lock file; default mmtrt.lock

  mmtrt lock recipe=llava variant=tiny
  mmtrt lock -m recipe=llava,llava_next quant=none,int4_wo
  mmtrt lock --check
  mmtrt lock recipe=vila --upgrade clone
"""


GONE = "-cd DIR, if it is of your own; else mmtrt lock --prune takes it out of the lock"


@dataclass
class Wanted:
    """The choices of one recipe and variant that are to be locked or checked."""

    name: str
    recipes: list[Recipe] = field(default_factory=list)
    kept: list[Entry] = field(default_factory=list)
    """Of choices that cannot be composed any more; they stay as they are."""


def main(args: list[str]) -> int:
    """Write or check entries; exit 4 if ``--check`` finds a stale one."""
    switches = ("--check", "--upgrade", "--prune", "--json", *MULTIRUN)
    valued = ("-o", "--output", "--lock")
    arguments = parse("lock", args, USAGE, switches, valued)
    if arguments is None:
        return 0
    _check_usage(arguments)
    from mmtrt.config.compose import Composer
    from mmtrt.pins.lock_file import LockFile

    said = (arguments.text(name) for name in ("-o", "--output", "--lock"))
    path = Path(next(filter(None, said), NAME))
    if not path.parent.is_dir():
        raise UsageError(
            f"there is no directory {path.parent}", code="CFG003", fix=f"mkdir -p {path.parent}"
        )
    if path.is_dir():
        raise UsageError(f"{path} is a directory, not a lock file", code="CFG003")
    lock, composer = LockFile(path), Composer(arguments.config_dirs)
    entries = lock.read()
    compose = _composing(composer, arguments)
    if arguments.on("--check") and not arguments.on("--upgrade"):
        return check(lock, entries, _points(composer, arguments), compose, arguments)
    wanted = _wanted(lock, entries, _points(composer, arguments), compose, arguments)
    renewed = _renewed(wanted, entries, arguments)
    if arguments.on("--check"):
        return report_upgrade(lock, entries, renewed, arguments)
    return _write(lock, entries, wanted, renewed, arguments)


def _check_usage(arguments: Arguments) -> None:
    if arguments.words and not arguments.on("--upgrade"):
        word = arguments.words[0]
        raise UsageError(
            f"mmtrt lock: {word!r} is no override",
            code="CFG002",
            why="overrides look like key=value",
            fix=f"mmtrt lock recipe={word}, or mmtrt lock --upgrade {word}",
        )
    if arguments.on("--prune") and arguments.on("--check"):
        raise UsageError("--prune writes and --check does not", code="CFG002")
    if is_sweep(arguments) and not arguments.overrides:
        raise UsageError(
            "mmtrt lock -m needs overrides",
            code="CFG002",
            why="without any, every entry is made anew",
            fix="mmtrt lock, or mmtrt lock -m with the overrides of the sweep",
        )


def is_sweep(arguments: Arguments) -> bool:
    """Return whether the overrides are those of a sweep."""
    return any(arguments.on(each) for each in MULTIRUN)


def _composing(composer: Composer, arguments: Arguments) -> Callable[[Sequence[str]], Recipe]:
    from mmtrt.config.recipe import resolve

    dirs = tuple(arguments.config_dirs)

    def compose(words: Sequence[str]) -> Recipe:
        composed = composer.compose(words)
        return resolve(composed.settings, tuple(composed.overrides), composed.where, dirs)

    return compose


def _points(composer: Composer, arguments: Arguments) -> list[tuple[str, ...]]:
    """Return the overrides of each point that was asked for; none where nothing was said."""
    if not is_sweep(arguments):
        return [tuple(arguments.overrides)] if arguments.overrides else []
    from mmtrt.cli.sweep_reading import expanded

    return expanded(composer, arguments.overrides)


def _wanted(
    lock: LockFile,
    entries: Entries,
    points: Sequence[Sequence[str]],
    compose: Callable[[Sequence[str]], Recipe],
    arguments: Arguments,
) -> list[Wanted]:
    """Return what is to be locked: the points, and what was locked of their recipes before.

    Raises:
        LockStale: LCK102, if nothing was asked for and nothing is locked.
        RecipeError: for every mistake in a point, or in what is locked if nothing was asked for.
    """
    from mmtrt.pins.describe import name_of, words_of

    prune, found = arguments.on("--prune"), dict[str, Wanted]()
    seen: set[tuple[str, frozenset[str]]] = set()

    def add(recipe: Recipe) -> None:
        name = name_of(recipe)
        place = name, frozenset(words_of(recipe))
        if place not in seen:
            seen.add(place)
            found.setdefault(name, Wanted(name)).recipes.append(recipe)

    asked = [compose(words) for words in points]
    for recipe in asked:
        found.setdefault(name_of(recipe), Wanted(name_of(recipe)))
    if not points and not entries:
        raise nothing_locked(lock)
    for name in entries if not points else [] if prune else list(found):
        found.setdefault(name, Wanted(name))
        for entry in entries.get(name, ()):
            for line, words in zip(entry.overrides, entry.choices()):
                try:
                    recipe = compose(words)
                except MmtrtError as error:
                    if not prune and not points:
                        error.at, error.fix = f"{lock.title}: {name}: {line}", GONE
                        raise
                    what = "taken out" if prune else "not made anew"
                    say(f"note: {name} ({line}) is {what}: {error.message}")
                    if not prune:
                        found[name].kept.append(replace(entry, overrides=[line]))
                    continue
                add(recipe)
    for recipe in asked:  # after what was locked, so that equal choices do not change the file
        add(recipe)
    return list(found.values())


def _renewed(wanted: Sequence[Wanted], entries: Entries, arguments: Arguments) -> list[Renewed]:
    from mmtrt.artifacts.store import Store
    from mmtrt.host import probe
    from mmtrt.pins.cases import together
    from mmtrt.pins.renew import Renewed, renew
    from mmtrt.pins.resolve import Upgrade

    upgrade = Upgrade(arguments.on("--upgrade") and not arguments.words, tuple(arguments.words))
    host, done = probe(), []
    for each in wanted:
        if not each.recipes:
            done.append(Renewed(each.name, ()))
            continue
        store = Store(Path(each.recipes[0].settings.paths.store))
        old = entries.get(each.name, ())
        renewed = renew(each.name, each.recipes, old, host, store, upgrade, say)
        if each.kept:
            renewed = replace(renewed, entries=together([*renewed.entries, *each.kept]))
        done.append(renewed)
    _require_known(upgrade, done)
    return done


def _require_known(upgrade: Upgrade, renewed: Sequence[Renewed]) -> None:
    """Refuse a name to upgrade that no entry has.

    Raises:
        UsageError: CFG003.
    """
    unknown, every = set(upgrade.names), [row for each in renewed for row in each.resolved]
    for each in every:
        unknown &= set(each.unknown)
    if unknown:
        names = sorted({name for each in every for name in each.names})
        raise UsageError(
            f"nothing that is locked is called {', '.join(sorted(unknown))}",
            code="CFG003",
            why=f"there are {', '.join(names)}",
            fix="mmtrt lock --upgrade, for everything",
        )


def _write(
    lock: LockFile,
    entries: Entries,
    wanted: Sequence[Wanted],
    renewed: Sequence[Renewed],
    arguments: Arguments,
) -> int:
    """Put the entries into the file and tell what changed."""
    from mmtrt.pins.renew import compared, merged

    prune = arguments.on("--prune")

    def change(present: Entries) -> Entries:
        made = {
            each.name: each.entries
            if prune
            else merged(each, entries.get(each.name, ()), present.get(each.name, ()))
            for each in renewed
        }
        return {name: rows for name, rows in (present | made).items() if rows}

    lock.update(change)
    found = {each.name: compared(entries.get(each.name, ()), each.entries) for each in renewed}
    if arguments.on("--json"):
        rows = [
            {"name": name, "changes": [row.to_json() for _, _, rows in told for row in rows]}
            for name, told in found.items()
        ]
        document: dict[str, Any] = {"schema": 1, "file": str(lock.path), "entries": rows}
        print(json.dumps(document, indent=1, ensure_ascii=False))
    for each in renewed:
        for note in each.notes:
            say(f"note: {note}")
        tell(lock.title, each, found[each.name], is_new=each.name not in entries)
    return 0
