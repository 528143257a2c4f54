"""``mmtrt lock``: pin what recipes leave open."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmtrt.cli.arguments import Arguments, parse
from mmtrt.cli.locking import NAME, lock_command
from mmtrt.errors import LockStale, UsageError

if TYPE_CHECKING:
    from mmtrt.config.recipe import Recipe
    from mmtrt.pins.drift import Drift
    from mmtrt.pins.entry import Entry
    from mmtrt.pins.lock_file import LockFile
    from mmtrt.pins.resolve import Resolved, Upgrade

USAGE = """\
mmtrt lock [OVERRIDES...] [--check] [--upgrade [NAME...]] [-o FILE] [--json] [-cd DIR]

Write what a recipe leaves open into mmtrt.lock: the commits and digests behind downloads and
clones, the packages of environments, the versions of tools, what backend=auto came to. A recipe and
variant have one entry; others stay as they are. Without overrides, every entry is made anew.

What was locked stays locked as long as the recipe asks for the same. A name that is new stands for
what the store has under it, else for what the hub, the git server or the package index say.

  --check           write nothing; exit 4 if an entry does not describe its recipe and this host
  --upgrade         ask for everything anew; with NAMEs for these: a stage, a repository, a package,
                    or `backend`
  -o, --output FILE the lock file; default mmtrt.lock

  mmtrt lock recipe=llava variant=tiny
  mmtrt lock --check
  mmtrt lock recipe=vila --upgrade clone
"""


def main(args: list[str]) -> int:
    """Write or check entries; exit 4 if ``--check`` finds a stale one."""
    switches, valued = ("--check", "--upgrade", "--json"), ("-o", "--output")
    arguments = parse("lock", args, USAGE, switches, valued)
    if arguments is None:
        return 0
    if arguments.words and not arguments.on("--upgrade"):
        word = arguments.words[0]
        raise UsageError(
            f"mmtrt lock: {word!r} is no override",
            code="CFG002",
            why="overrides look like key=value",
            fix=f"mmtrt lock recipe={word}, or mmtrt lock --upgrade {word}",
        )
    from mmtrt.pins.lock_file import LockFile
    from mmtrt.pins.resolve import Upgrade

    path = Path(arguments.text("-o") or arguments.text("--output") or NAME)
    if not path.parent.is_dir():
        raise UsageError(
            f"there is no directory {path.parent}", code="CFG003", fix=f"mkdir -p {path.parent}"
        )
    lock = LockFile(path)
    entries = lock.read()
    wanted = [(None, arguments.overrides)] if arguments.overrides else _recorded(lock, entries)
    upgrade = Upgrade(arguments.on("--upgrade") and not arguments.words, tuple(arguments.words))
    if arguments.on("--check") and not arguments.on("--upgrade"):
        return _check(lock, wanted, arguments)
    resolved = [_resolve(_recipe(words, arguments), entries, upgrade) for _, words in wanted]
    _require_known(upgrade, resolved)
    if arguments.on("--check"):
        found = {each.name: _changes(entries, each) for each in resolved}
        return _report(lock, found, arguments)
    return _write(lock, entries, resolved, arguments)


def _recorded(lock: LockFile, entries: dict[str, Entry]) -> list[tuple[str | None, list[str]]]:
    """Return the overrides that every entry was made for.

    Raises:
        LockStale: LCK102, if there is none.
    """
    if not entries:
        raise LockStale(
            f"{lock.title} has no entries" if lock.path.exists() else f"there is no {lock.title}",
            code="LCK102",
            fix="mmtrt lock recipe=<name> variant=<name>; mmtrt ls lists them",
        )
    return [(name, list(entry.overrides)) for name, entry in entries.items()]


def _recipe(words: Sequence[str], arguments: Arguments) -> Recipe:
    from mmtrt.config.compose import compose
    from mmtrt.config.recipe import resolve

    composed = compose(words, arguments.config_dirs)
    dirs = tuple(arguments.config_dirs)
    return resolve(composed.settings, tuple(composed.overrides), composed.where, dirs)


def _resolve(recipe: Recipe, entries: dict[str, Entry], upgrade: Upgrade) -> Resolved:
    from mmtrt.artifacts.store import Store
    from mmtrt.host import probe
    from mmtrt.pins.describe import name_of
    from mmtrt.pins.resolve import entry_of

    store, old = Store(Path(recipe.settings.paths.store)), entries.get(name_of(recipe))
    return entry_of(recipe, probe(), store, old, upgrade, lambda text: print(text, file=sys.stderr))


def _require_known(upgrade: Upgrade, resolved: Sequence[Resolved]) -> None:
    """Refuse a name to upgrade that no entry has.

    Raises:
        UsageError: CFG003.
    """
    unknown = set(upgrade.names)
    for each in resolved:
        unknown &= set(each.unknown)
    if unknown:
        names = sorted({name for each in resolved for name in each.names})
        raise UsageError(
            f"nothing that is locked is called {', '.join(sorted(unknown))}",
            code="CFG003",
            why=f"there are {', '.join(names)}",
            fix="mmtrt lock --upgrade, for everything",
        )


def _changes(entries: dict[str, Entry], resolved: Resolved) -> list[Drift]:
    from mmtrt.pins.drift import changes

    return changes(entries.get(resolved.name), resolved.entry)


def _check(
    lock: LockFile, wanted: Sequence[tuple[str | None, list[str]]], arguments: Arguments
) -> int:
    from mmtrt.artifacts.store import Store
    from mmtrt.host import probe
    from mmtrt.pins.apply import Pins
    from mmtrt.pins.describe import describe, name_of
    from mmtrt.pins.drift import drift_of, no_entry

    entries, host = lock.read(), probe()
    found: dict[str, list[Drift]] = {}
    for recorded, words in wanted:
        recipe = _recipe(words, arguments)
        name = recorded or name_of(recipe)
        entry = entries.get(name)
        if entry is None:
            fix = lock_command(words, arguments.config_dirs, lock.path)
            raise no_entry(lock.title, name, lock.path.exists(), fix)
        store = Store(Path(recipe.settings.paths.store))
        found[name] = drift_of(entry, describe(recipe, host, store, Pins(entry, lock.title)))
    return _report(lock, found, arguments)


def _report(lock: LockFile, found: dict[str, list[Drift]], arguments: Arguments) -> int:
    """Print what is stale; exit 4 if anything is."""
    from mmtrt.pins.drift import table

    stale = {name: rows for name, rows in found.items() if rows}
    if arguments.on("--json"):
        _print_json(lock, found, "drift", is_stale=bool(stale))
    else:
        for name, rows in stale.items():
            print(f"{name} differs from {lock.title}:")
            print(table(rows, ("LOCKED", "UPGRADED" if arguments.on("--upgrade") else "PRESENT")))
    if not stale:
        count = f"{len(found)} entr{'ies' if len(found) != 1 else 'y'}"
        print(f"{lock.title} is up to date: {count} checked", file=sys.stderr)
        return 0
    words = [*arguments.overrides, *(["--upgrade"] if arguments.on("--upgrade") else [])]
    fix = lock_command([*words, *arguments.words], arguments.config_dirs, lock.path)
    count = f"{len(stale)} of {len(found)} entr{'ies' if len(found) != 1 else 'y'}"
    error = LockStale(f"{lock.title} is stale: {count}", code="LCK101", fix=fix)
    print(error.render(), file=sys.stderr)
    return error.exit_code


def _write(
    lock: LockFile, entries: dict[str, Entry], resolved: Sequence[Resolved], arguments: Arguments
) -> int:
    """Put the entries into the file and tell what changed."""
    found = {each.name: _changes(entries, each) for each in resolved}
    lock.update(lambda old: {**old, **{each.name: each.entry for each in resolved}})
    if arguments.on("--json"):
        _print_json(lock, found, "changes")
    for each in resolved:
        for note in each.notes:
            print(f"note: {note}", file=sys.stderr)
        _tell(lock, each, found[each.name], is_new=each.name not in entries)
    return 0


def _tell(lock: LockFile, resolved: Resolved, rows: Sequence[Drift], *, is_new: bool) -> None:
    from mmtrt.pins.drift import said

    entry = resolved.entry
    if is_new:
        parts = [
            f"{len(pins)} {word}{'s' * (len(pins) != 1)}"
            for word, pins in (
                ("download", entry.downloads),
                ("clone", entry.clones),
                ("environment", entry.environments),
                ("local model", entry.local),
                ("patch", entry.patches),
                ("tool", entry.tools),
            )
            if pins
        ]
        backend = f"backend {entry.backend.name}, engine {entry.backend.engine}"
        print(
            f"Locked {resolved.name} in {lock.title}: {', '.join([backend, *parts])}",
            file=sys.stderr,
        )
        return
    verb = "Updated" if rows else "Nothing changed for"
    print(f"{verb} {resolved.name} in {lock.title}", file=sys.stderr)
    for row in rows:
        if row.locked is None:
            print(f" + {row.field} {said(row.present)}", file=sys.stderr)
        elif row.present is None:
            print(f" - {row.field} {said(row.locked)}", file=sys.stderr)
        else:
            print(f" ~ {row.field} {said(row.locked)} -> {said(row.present)}", file=sys.stderr)


def _print_json(lock: LockFile, found: dict[str, list[Drift]], what: str, **more: Any) -> None:
    rows = [{"name": name, what: [row.to_json() for row in rows]} for name, rows in found.items()]
    document = {"schema": 1, "file": str(lock.path), **more, "entries": rows}
    print(json.dumps(document, indent=1, ensure_ascii=False))
