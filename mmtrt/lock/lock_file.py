"""The file ``mmtrt.lock``: YAML, sorted, a fact a line, whole at any moment, written by several.

YAML, as the recipes are: the library that reads them is there, one that writes TOML is not. Rows of
files are flow mappings, so that a file is a line, and a list of one value is written as the value.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mmtrt.artifacts.atomic import write_text
from mmtrt.artifacts.locks import KeyLock
from mmtrt.config import typed
from mmtrt.errors import LockStale
from mmtrt.lock.tables import TABLES, Lock
from mmtrt.lock.upgrade_schema import OLDEST, upgraded

NAME = "mmtrt.lock"
SCHEMA = 3
"""Raised when an older mmtrt could misread a lock."""
WAIT_S = 60.0
"""For another `mmtrt lock` that writes the same file; writing takes milliseconds."""
HEAD = (
    "# Written by `mmtrt lock`. Change it with `mmtrt lock`, and keep it under version control.\n"
)
VALUES = (*TABLES, "gpu")
"""Fields of a recipe whose lists of one value are written as the value."""


@dataclass(frozen=True, slots=True)
class LockFile:
    """Where a lock lies."""

    path: Path

    @property
    def title(self) -> str:
        """The path as messages name it."""
        return str(self.path)

    def read(self) -> Lock:
        """Return the lock; an empty one if there is no file.

        Files of schema 2 are read; the next `mmtrt lock` that changes something writes a new
        one.

        Raises:
            LockStale: LCK103, if the file cannot be understood.
        """
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return Lock()
        except (OSError, UnicodeDecodeError) as error:
            raise self._garbled(f"it cannot be read: {error}") from error
        return self.parsed(text)

    def update(self, change: Callable[[Lock], Lock]) -> bool:
        """Replace the lock by what ``change`` makes of it; return whether the file changed.

        Other processes wait meanwhile, so that nothing of theirs is lost. A kill at any moment
        leaves the old file or the new one.

        Raises:
            LockStale: LCK103, if the old file cannot be understood; LCK105, if another process
                does not finish.
            ArtifactError: ART15x, if the file cannot be written.
        """
        held = KeyLock(self.path.with_name(f".{self.path.name}.held"))
        if not held.acquire(WAIT_S):
            raise LockStale(
                f"another process has been writing {self.title} for a minute",
                code="LCK105",
                why=f"process {(held.holder() or {}).get('pid')} holds it",
                fix="wait for it, or end it",
            )
        try:
            old = self.read()
            new = change(old)
            # Who locks nothing new leaves the writer's version as it is.
            if self.path.exists() and new == old:
                return False
            write_text(self.path, lock_text(new))
            return True
        finally:
            held.release()

    def parsed(self, text: str) -> Lock:
        """Return the lock that a text holds.

        Raises:
            LockStale: LCK103.
        """
        if re.search(r"^(<{7}|={7}|>{7})", text, re.MULTILINE):
            raise self._garbled("it holds the marks of a merge that git could not do")
        import yaml

        class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc] # one of two classes
            """Takes nothing twice, as who puts two branches together by hand may leave it."""

            def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
                keys = [key.value for key, _ in node.value]
                if len(set(keys)) < len(keys):
                    twice = next(key for key in keys if keys.count(key) > 1)
                    where = node.start_mark
                    raise yaml.constructor.ConstructorError(None, None, f"{twice} twice", where)
                found: dict[Any, Any] = super().construct_mapping(node, deep)
                return found

        try:
            data = yaml.load(text, Loader)
        except (yaml.YAMLError, RecursionError) as error:
            raise self._garbled(f"it is no YAML: {' '.join(str(error).split())}") from error
        schema = data.pop("schema", None) if isinstance(data, dict) else None
        if isinstance(schema, int) and schema > SCHEMA:
            raise LockStale(
                f"{self.title} has schema {schema}, this mmtrt reads up to {SCHEMA}",
                code="LCK103",
                why="a newer mmtrt wrote it",
                fix="use that mmtrt",
            )
        if not isinstance(schema, int) or schema < OLDEST:
            raise self._garbled("it has no schema" if schema is None else f"its schema is {schema}")
        if schema < SCHEMA:
            try:
                data = upgraded(data)
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                raise self._garbled(f"it is not what schema {schema} is: {error!r}") from error
        return self._checked(data)

    def _checked(self, data: Any) -> Lock:
        lock, problems = typed.read(Lock, _listed(data))
        wrong = [f"{typed.dotted(each.path)} {each.message}" for each in problems]
        for name, recipe in ({} if lock is None else lock.recipes).items():
            for line in recipe.choices:
                try:
                    shlex.split(line)
                except ValueError as error:
                    wrong.append(f"recipes.{name}.choices: {line!r} is no command line: {error}")
        if lock is None or wrong:
            raise self._garbled("; ".join(wrong[:5]))
        return lock

    def _garbled(self, why: str) -> LockStale:
        return LockStale(
            f"{self.title} cannot be used",
            code="LCK103",
            why=why,
            fix="take it from version control, or remove it and run mmtrt lock for each recipe",
        )


def lock_text(lock: Lock) -> str:
    """Return the text of a lock file."""
    import yaml

    class Dumper(yaml.SafeDumper):
        """Lists are indented below their key, which keeps diffs small and merges possible."""

        def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
            super().increase_indent(flow, False)

        def ignore_aliases(self, data: Any) -> bool:
            """Say what is equal again, instead of by a name that nobody can read."""
            return True

    Dumper.add_representer(
        _Line,
        lambda dumper, row: dumper.represent_mapping("tag:yaml.org,2002:map", row, flow_style=True),
    )
    body = yaml.dump(
        {"schema": SCHEMA, **lock_plain(lock)},
        Dumper=Dumper,
        sort_keys=False,
        default_flow_style=False,
        allow_unicode=False,  # with it, U+0085 does not come back
        width=1 << 30,
    )
    return f"{HEAD}{body}"


def lock_plain(lock: Lock) -> dict[str, Any]:
    """Return a lock as plain data, without what is empty; see :func:`lock_from`."""
    plain = asdict(lock)
    for recipe in plain["recipes"].values():
        for field in VALUES:
            recipe[field] = _single(recipe[field])
    for row in plain["downloads"].values():
        row["files"] = [_Line(sorted(file.items())) for file in row["files"]]
    # Recipes and rows are sorted; the fields of one stand as they are declared.
    for name, table in plain.items():
        if isinstance(table, dict):
            plain[name] = dict(sorted(table.items()))
    found: dict[str, Any] = _filled(plain)
    return found


def lock_from(plain: Any) -> Lock:
    """Return the lock that :func:`lock_plain` was made of.

    Raises:
        LockStale: LCK103, if it is none.
    """
    return LockFile(Path("the saved lock"))._checked(plain)


class _Line(dict[str, Any]):
    """A mapping that stays on one line."""


def _single(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _single(each) for name, each in sorted(value.items())}
    return value[0] if len(value) == 1 else value


def _filled(value: Any) -> Any:
    if isinstance(value, dict) and not isinstance(value, _Line):
        return {name: _filled(each) for name, each in value.items() if each not in ({}, [], None)}
    return value


def _listed(data: Any) -> Any:
    """Return plain data with lists where one value was written alone."""
    if not isinstance(data, dict) or not isinstance(data.get("recipes"), dict):
        return data
    recipes = {name: _recipe_listed(each) for name, each in data["recipes"].items()}
    return {**data, "recipes": recipes}


def _recipe_listed(recipe: Any) -> Any:
    if not isinstance(recipe, Mapping):
        return recipe
    found = dict(recipe)
    for field in VALUES:
        value = found.get(field)
        if isinstance(value, dict):
            found[field] = {key: _as_list(each) for key, each in value.items()}
        elif value is not None:
            found[field] = _as_list(value)
    return found


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list) else [value]
