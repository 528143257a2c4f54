"""``mmtrt lock``: write or check what recipes leave open."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmtrt.artifacts.store import Store
from mmtrt.cli.arguments import MULTIRUN, Arguments, parse
from mmtrt.cli.locking import NAME, lock_command
from mmtrt.cli.sweep_reading import expanded
from mmtrt.config.compose import Composer
from mmtrt.config.recipe import Recipe, resolve
from mmtrt.errors import LockStale, MmtrtError, RecipeError, UsageError
from mmtrt.host import probe
from mmtrt.lock.apply import RecipePins
from mmtrt.lock.drift import Drift, changes, counted, drift_of, no_file, table
from mmtrt.lock.lock_file import LockFile
from mmtrt.lock.needs import choice_line, needs_of, recipe_name, words_of
from mmtrt.lock.resolve import Resolver, Upgrade
from mmtrt.lock.tables import Lock, LockedRecipe

USAGE = """\
mmtrt lock [OVERRIDES...] [-m] [--check] [--upgrade [NAME...]] [--prune] [-o FILE] [--json]
           [-cd DIR]

Write what a recipe leaves open into mmtrt.lock: the commits and digests behind downloads and
clones, the packages of environments, the versions of tools, what backend=auto came to. A lock holds
what was locked before, and all that the new choices need; other recipes stay as they are. Without
overrides, every recipe in it is locked anew.

What was locked stays locked as long as the recipe asks for the same. A name that is new stands for
what the store has under it, else for what the hub, the git server or the package index say.

  -m                every point of a sweep, with the overrides of `mmtrt -m`
  --check           write nothing; exit 4 if the lock does not describe a recipe and this host
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


@dataclass(frozen=True, slots=True)
class Checked:
    """One choice, held against the lock."""

    name: str
    """``recipe/variant``."""
    choice: str
    """The overrides, as one would type them."""
    drift: tuple[Drift, ...]
    is_gone: bool = False
    """Whether no recipe has it any more."""


def main(args: list[str]) -> int:
    """Lock recipes, or check them; exit 4 if ``--check`` finds a stale one."""
    switches = ("--check", "--upgrade", "--prune", "--json", *MULTIRUN)
    valued = ("-o", "--output", "--lock")
    arguments = parse("lock", args, USAGE, switches, valued)
    if arguments is None:
        return 0
    _check_usage(arguments)

    said = (arguments.text(name) for name in ("-o", "--output", "--lock"))
    path = Path(next(filter(None, said), NAME))
    if not path.parent.is_dir():
        raise UsageError(
            f"there is no directory {path.parent}", code="CFG003", fix=f"mkdir -p {path.parent}"
        )
    if path.is_dir():
        raise UsageError(f"{path} is a directory, not a lock file", code="CFG003")
    work = _Work(LockFile(path), Composer(arguments.config_dirs), arguments)
    return work.check() if arguments.on("--check") else work.write()


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
    if any(map(arguments.on, MULTIRUN)) and not arguments.overrides:
        raise UsageError(
            "mmtrt lock -m needs overrides",
            code="CFG002",
            why="without any, every recipe is locked anew",
            fix="mmtrt lock, or mmtrt lock -m with the overrides of the sweep",
        )


class _Work:
    """One call of ``mmtrt lock``."""

    def __init__(self, file: LockFile, composer: Composer, arguments: Arguments) -> None:
        """Read the lock and compose what was asked for."""
        self.file, self.composer, self.arguments = file, composer, arguments
        self.seen = file.read()
        self.asked = [self.compose(words) for words in self._points()]
        if not self.asked and not self.seen.recipes:
            raise LockStale(
                f"{file.title} has no entries"
                if file.path.exists()
                else f"there is no {file.title}",
                code="LCK102",
                fix="mmtrt lock recipe=<name> variant=<name>; mmtrt ls lists them",
            )

    def _points(self) -> list[tuple[str, ...]]:
        """Return the overrides of each point that was asked for; none where nothing was said."""
        words = self.arguments.overrides
        if not any(map(self.arguments.on, MULTIRUN)):
            return [tuple(words)] if words else []

        return expanded(self.composer, words)

    def compose(self, words: Sequence[str]) -> Recipe:
        """Return the recipe of one choice."""
        composed = self.composer.compose(words)
        dirs = tuple(self.arguments.config_dirs)
        return resolve(composed.settings, tuple(composed.overrides), composed.where, dirs)

    def names(self, lock: Lock) -> list[str]:
        """Return the recipes that this call is about."""
        return list(dict.fromkeys(map(recipe_name, self.asked))) or list(lock.recipes)

    def made(self, old: Lock, resolver: Resolver) -> Lock:
        """Return the lock of what was asked for, and of what was locked of these recipes before."""
        lock, arguments = old, self.arguments
        is_whole = arguments.on("--prune") and self.asked
        for name in self.names(old):
            block = None if is_whole else old.recipes.get(name)
            recipes, is_kept = self._recipes(name, block)
            lock = resolver.locked(lock, name, recipes, block if is_kept else None)
        unknown = set(resolver.upgrade.names) - resolver.known
        if unknown:
            raise UsageError(
                f"nothing that is locked is called {', '.join(sorted(unknown))}",
                code="CFG003",
                why=f"there are {', '.join(sorted(resolver.known))}",
                fix="mmtrt lock --upgrade, for everything",
            )
        return lock

    def _recipes(self, name: str, block: LockedRecipe | None) -> tuple[list[Recipe], bool]:
        """Return the choices of a recipe, old ones first, and whether some cannot be made anew."""
        found: dict[frozenset[str], Recipe] = {}
        is_kept, prune = False, self.arguments.on("--prune")
        for line, words in block.lines() if block else ():
            try:
                recipe = self.compose(words)
            except MmtrtError as error:
                if not prune and not self.asked:
                    error.at, error.fix = f"{self.file.title}: {name}: {line}", GONE
                    raise
                what = "taken out" if prune else "not made anew"
                say(f"note: {name} ({line}) is {what}: {error.message}")
                is_kept = is_kept or not prune
                continue
            found.setdefault(frozenset(words_of(recipe)), recipe)
        for recipe in self.asked:
            if recipe_name(recipe) == name:
                found.setdefault(frozenset(words_of(recipe)), recipe)
        return list(found.values()), is_kept

    def write(self) -> int:
        """Put what was asked for into the file and tell what changed."""
        resolver = self._resolver()
        new = self.made(self.seen, resolver)

        def change(present: Lock) -> Lock:
            # Another process wrote meanwhile: nothing has to be asked for again.
            nonlocal new
            new = new if present == self.seen else self.made(present, resolver)
            return new

        self.file.update(change)

        names = self.names(self.seen)
        rows = {name: changes(self.seen, new, name) for name in names}
        if self.arguments.on("--json"):
            entries = [
                {"name": name, "changes": [row.to_json() for row in rows[name]]} for name in names
            ]
            _print_json({"schema": 1, "file": str(self.file.path), "entries": entries})
        for note in dict.fromkeys(resolver.notes):
            say(f"note: {note}")
        for name in names:
            self._tell(name, new, rows[name])
        return 0

    def _resolver(self) -> Resolver:

        words, asks = tuple(self.arguments.words), self.arguments.on("--upgrade")
        return Resolver(probe(), Upgrade(asks and not words, words), say)

    def _tell(self, name: str, new: Lock, rows: Sequence[Drift]) -> None:
        """Tell what became of one recipe and variant."""
        title = self.file.title
        if name not in new.recipes:
            say(f"Removed {name} from {title}")
        elif name not in self.seen.recipes:
            say(f"Locked {name} in {title}: {_contents(new.recipes[name])}")
        elif rows:
            say("\n ".join([f"Updated {name} in {title}", *(row.text() for row in rows)]))
        else:
            say(f"Nothing changed for {name} in {title}")

    def check(self) -> int:
        """Print where the lock does not describe what was asked for, or all that it holds.

        With ``--upgrade``, what that would change.

        Raises:
            LockStale: LCK102, if the lock does not speak of it.
        """
        if self.arguments.on("--upgrade"):
            new = self.made(self.seen, self._resolver())
            found = [
                Checked(name, line, tuple(changes(self.seen, new, name)))
                for name in self.names(self.seen)
                for line in (new.recipes.get(name) or self.seen.recipes[name]).choices[:1]
            ]
            return self._report(found, "UPGRADED")
        missing = [name for name in self.names(self.seen) if name not in self.seen.recipes]
        if missing:
            title = self.file.title
            raise LockStale(
                f"{title} has no entry for {', '.join(missing)}"
                if self.file.path.exists()
                else no_file(title),
                code="LCK102",
                fix=self._again(),
            )
        return self._report(self._checked())

    def _checked(self) -> list[Checked]:

        host, found = probe(), []
        asked = [(recipe_name(recipe), choice_line(recipe), recipe) for recipe in self.asked]
        for name, block in () if asked else self.seen.recipes.items():
            for line, words in block.lines():
                try:
                    asked.append((name, line, self.compose(words)))
                except RecipeError as error:
                    say(f"note: {name} ({line}): {error.message}")
                    gone = Drift("choices", line, None)
                    found.append(Checked(name, line, (gone,), is_gone=True))
        for name, line, recipe in asked:
            pins = RecipePins(self.seen, name, self.file.title)
            needs = needs_of(recipe, host, Store(Path(recipe.settings.paths.store)), pins)
            found.append(Checked(name, line, drift_of(self.seen, needs)))
        return found

    def _report(self, found: Sequence[Checked], present: str = "PRESENT") -> int:
        """Print what is stale, equal tables once; exit 4 if anything is."""
        title = self.file.title
        by_name: dict[str, dict[tuple[Drift, ...], list[str]]] = {}
        for each in found:
            by_name.setdefault(each.name, {}).setdefault(each.drift, []).append(each.choice)
        stale = {name: groups for name, groups in by_name.items() if any(groups)}
        if self.arguments.on("--json"):
            rows = [
                {"name": name, "overrides": lines, "drift": [row.to_json() for row in drift]}
                for name, groups in by_name.items()
                for drift, lines in groups.items()
            ]
            head = {"schema": 1, "file": str(self.file.path), "is_stale": bool(stale)}
            _print_json({**head, "entries": rows})
        else:
            for name, groups in stale.items():
                for drift, lines in groups.items():
                    if drift:
                        which = "" if len(groups) == 1 else f" ({_some(lines)})"
                        print(f"{name}{which} differs from {title}:")
                        print(table(drift, ("LOCKED", present)))
        entries = f"{len(by_name)} entr{'ies' if len(by_name) != 1 else 'y'}"
        if not stale:
            points = f" for {counted(len(found), 'choice')}" if len(found) > len(by_name) else ""
            say(f"{title} is up to date: {entries} checked{points}")
            return 0
        is_gone = any(each.is_gone for each in found)
        fix = self._again(*(["--prune"] if is_gone else []))
        error = LockStale(
            f"{title} is stale: {len(stale)} of {entries}",
            code="LCK101",
            fix=f"-cd DIR, if what is gone is of your own; else {fix}" if is_gone else fix,
        )
        say(error.render())
        return error.exit_code

    def _again(self, *more: str) -> str:
        """Return the command line that makes what was asked for."""
        arguments = self.arguments
        words = [*(["-m"] if any(map(arguments.on, MULTIRUN)) else []), *arguments.overrides]
        words += ["--upgrade", *arguments.words] if arguments.on("--upgrade") else []
        return lock_command([*words, *more], arguments.config_dirs, self.file.path)


def say(text: str) -> None:
    """Print a line that is no result."""
    print(text, file=sys.stderr)


def _print_json(document: dict[str, Any]) -> None:
    print(json.dumps(document, indent=1, ensure_ascii=False))


def _some(choices: Sequence[str]) -> str:
    return "; ".join(choices[:3]) + (f"; {len(choices) - 3} more" if len(choices) > 3 else "")


def _contents(block: LockedRecipe) -> str:
    backends = [block.backend] if block.backend else list(block.engine)
    engines = block.values("engine")
    parts = [
        f"{word} {', '.join(names)}"
        for word, names in (("backend", backends), ("engine", engines))
        if names
    ]
    counts = (
        ("download", block.downloads),
        ("clone", block.clones),
        ("environment", block.environments),
        ("local model", block.local),
        ("patch", block.patches),
        ("tool", block.tools),
    )
    parts += [f"{len(each)} {word}{'s' * (len(each) != 1)}" for word, each in counts if each]
    return ", ".join(parts)
